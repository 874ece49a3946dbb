//! A client of one replica.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use platform::client;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::{API_KEY, WAIT_TIMEOUT};

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    /// Panics unless it has the status.
    #[track_caller]
    pub(crate) fn expect(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", self.json);
        self
    }

    pub(crate) fn id(&self) -> String {
        self.json["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.json)).to_owned()
    }

    /// The type and code of an error.
    pub(crate) fn error(&self) -> (&str, &str) {
        let error = &self.json["error"];
        assert!(error["message"].is_string(), "not an error of Stripe's shape: {}", self.json);
        (error["type"].as_str().unwrap(), error["code"].as_str().unwrap_or(""))
    }

    pub(crate) fn replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }
}

/// Talks to one replica.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        Self { base: base.to_owned(), http: client::build(WAIT_TIMEOUT) }
    }

    /// A request with the right key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare_request(method, path).bearer_auth(API_KEY)
    }

    /// A request without a key.
    pub(crate) fn bare_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Reply {
        self.try_send(request).await.expect("an answer")
    }

    pub(crate) async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Reply> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(text()));
        Ok(Reply { status, headers, json })
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        self.send(self.request(Method::POST, path).form(form)).await
    }

    pub(crate) async fn post_with_key(&self, key: &str, path: &str, form: &[(&str, &str)]) -> Reply {
        self.send(self.request(Method::POST, path).header("idempotency-key", key).form(form)).await
    }

    pub(crate) async fn json(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.send(self.request(method, path).json(body)).await
    }

    pub(crate) async fn confirm(&self, intent: &str, payment_method: &str) -> Reply {
        self.post(&format!("/v1/payment_intents/{intent}/confirm"), &[("payment_method", payment_method)]).await
    }

    /// Whether no response arrives within half a second.
    pub(crate) async fn times_out(&self, request: RequestBuilder) -> bool {
        match self.try_send(request.timeout(Duration::from_millis(500))).await {
            Ok(reply) => panic!("answered: {} {}", reply.status, reply.json),
            Err(error) => error.is_timeout(),
        }
    }
}
