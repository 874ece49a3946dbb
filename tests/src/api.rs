//! The platform's API as its users call it: requests with a token, answers that fail with all they said.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use platform::client;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::Value;

/// A client for HTTP on this machine.
pub fn http_client() -> Client {
    client::build(Duration::from_secs(60))
}

/// Somebody at the platform's origin, logged in or not.
#[derive(Clone)]
pub struct Api {
    origin: String,
    token: Option<String>,
    http: Client,
}

impl Api {
    /// Somebody who is not logged in.
    pub fn new(origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), token: None, http: http_client() }
    }

    /// Somebody at an origin that is answered for by `address`, whatever its name resolves to.
    pub fn at_address(origin: &Url, address: SocketAddr) -> Result<Self> {
        let host = origin.host_str().context("an origin without a host")?;
        let http = client::builder(Duration::from_secs(60)).resolve(host, address).build()?;
        Ok(Self { origin: origin.origin().ascii_serialization(), token: None, http })
    }

    /// The same place, logged in with that access token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// The same person at another address, such as a service's own.
    #[must_use]
    pub fn at(&self, origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), ..self.clone() }
    }

    /// The access token, if logged in.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Starts a request to a path; for headers and bodies of one's own.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.origin));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        Reply::to(self.request(Method::GET, path)).await
    }

    /// POST of a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply> {
        Reply::to(self.request(Method::POST, path).json(body)).await
    }

    /// POST of a JSON body under an idempotency key.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Result<Reply> {
        Reply::to(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    /// PUT of a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Reply> {
        Reply::to(self.request(Method::PUT, path).json(body)).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Reply> {
        Reply::to(self.request(Method::PATCH, path).json(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Result<Reply> {
        Reply::to(self.request(Method::DELETE, path)).await
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The JSON body; null if it is empty, a string if it is not JSON.
    pub body: Value,
    request: String,
}

impl Reply {
    /// Sends the request and reads the answer.
    pub async fn to(request: reqwest::RequestBuilder) -> Result<Self> {
        let (client, request) = request.build_split();
        let request = request.context("the request does not fit together")?;
        let line = format!("{} {}", request.method(), request.url());
        let answer = client.execute(request).await.with_context(|| format!("{line}: no answer"))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.with_context(|| format!("{line}: the answer ended early"))?;
        let body = match serde_json::from_str(&text) {
            Ok(body) => body,
            Err(_) if text.is_empty() => Value::Null,
            Err(_) => Value::String(text),
        };
        Ok(Self { status, headers, body, request: line })
    }

    /// The body, if the status is the expected one.
    pub fn expect(self, status: StatusCode) -> Result<Value> {
        if self.status == status.as_u16() {
            return Ok(self.body);
        }
        bail!("{}: expected {}, got {}: {}", self.request, status.as_u16(), self.status, self.body)
    }

    /// The body of a refusal, if it has the expected status and code and is a problem (RFC 9457).
    pub fn refused(self, status: StatusCode, code: &str) -> Result<Value> {
        let media_type = self.headers.get(CONTENT_TYPE).cloned();
        let told = self.body["code"].as_str().unwrap_or_default().to_owned();
        let body = self.clone().expect(status)?;
        if told != code {
            bail!("{}: expected code {code}, got {body}", self.request);
        }
        if media_type.as_ref().is_none_or(|value| value != "application/problem+json") {
            bail!("{}: a refusal of type {media_type:?}: {body}", self.request);
        }
        Ok(body)
    }
}
