//! Requests to a router, without a socket between.

use std::{fmt::Debug, net::IpAddr};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode, header, response::Parts},
};
use futures::future::join_all;
use http_body_util::BodyExt;
use platform::extract::ClientAddr;
use serde_json::Value;
use tower::ServiceExt;

/// The origin that requests come from and go to.
const HOST: &str = "localhost:8080";

/// A request in the making.
#[derive(Debug)]
pub struct Call {
    router: Router,
    request: Request<Body>,
}

impl Call {
    /// A request without a body.
    pub fn new<M: TryInto<Method, Error: Debug>>(router: &Router, method: M, path: &str) -> Self {
        let request = Request::builder().method(method.try_into().unwrap()).uri(path).header(header::HOST, HOST);
        Self { router: router.clone(), request: request.body(Body::empty()).unwrap() }
    }

    /// The same request to another replica.
    #[must_use]
    pub fn to(self, router: Router) -> Self {
        Self { router, ..self }
    }

    /// With a header, in place of one of that name.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    /// By somebody with that token.
    #[must_use]
    pub fn bearer<T: AsRef<str> + ?Sized>(self, token: &T) -> Self {
        self.header("authorization", &format!("Bearer {}", token.as_ref()))
    }

    /// Under that Idempotency-Key.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// With cookies, from a page of the platform, as a browser sends it.
    #[must_use]
    pub fn cookies(self, cookies: &str) -> Self {
        self.header("cookie", cookies).header("origin", &format!("http://{HOST}"))
    }

    /// From that address.
    #[must_use]
    pub fn from(mut self, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        self.request.extensions_mut().insert(ClientAddr(address));
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    /// With a body that says it is JSON.
    #[must_use]
    pub fn body(self, body: impl Into<Body>) -> Self {
        let mut call = self.header("content-type", "application/json");
        *call.request.body_mut() = body.into();
        call
    }

    /// Sends it and reads the answer to its end.
    pub async fn send(self) -> Answer {
        let (parts, bytes) = self.send_raw().await;
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The same, with a body that may be anything.
    pub async fn send_raw(self) -> (Parts, Bytes) {
        let response = self.router.oneshot(self.request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    }
}

/// Sends all at once; the answers in order.
pub async fn all(calls: impl IntoIterator<Item = Call>) -> Vec<Answer> {
    let tasks = calls.into_iter().map(|call| tokio::spawn(call.send()));
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The JSON body; null if it is empty, a string if it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The number in the member `id`.
    #[track_caller]
    pub fn id(&self) -> i32 {
        i32::try_from(self.body["id"].as_i64().unwrap_or_else(|| panic!("{self:?}"))).unwrap()
    }

    /// The code of a problem, or an empty text.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The fields that a problem names.
    pub fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
    }

    /// A header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The raw Set-Cookie lines.
    pub fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The Cookie header that follows from the Set-Cookie lines.
    pub fn cookies(&self) -> String {
        let pairs: Vec<_> = self.set_cookies().into_iter().map(|line| line.split(';').next().unwrap()).collect();
        pairs.join("; ")
    }

    /// Asserts a status; gives the answer itself.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts that it is 200; gives the body.
    #[track_caller]
    pub fn assert_ok(&self) -> &Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        &self.body
    }

    /// Asserts that it is a problem with that status and code.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
    }
}
