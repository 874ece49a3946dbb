//! event-service, asked over REST at request time.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use platform::{
    ApiError, ApiResult,
    client::{self, WithContext},
};
use reqwest::Client;
use serde::Serialize;
use url::Url;

/// The longest an answer may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// A client of event-service. Cheap to clone.
#[derive(Clone)]
pub struct EventService {
    client: Client,
    url: String,
}

/// What event-service answered: a list or a refusal.
#[derive(Debug)]
pub struct EventAnswer {
    /// 200 or 4xx.
    pub status: StatusCode,
    /// Content-Type, and Retry-After where there is one.
    pub headers: HeaderMap,
    /// JSON, or a problem.
    pub body: Bytes,
}

impl EventService {
    /// The service at `url`.
    pub fn new(url: &Url) -> Self {
        let url = format!("{}/api/events", url.as_str().trim_end_matches('/'));
        Self { client: client::build(DEADLINE), url }
    }

    /// The published events by those parameters. 503 `event_service_unavailable` without a fit answer within 3 s.
    pub async fn list<Q: Serialize + Sync>(&self, query: &Q) -> ApiResult<EventAnswer> {
        self.ask(query).await.map_err(|cause| {
            let detail = "the events cannot be had at this moment; try again";
            ApiError::unavailable("event_service_unavailable", detail, cause)
        })
    }

    async fn ask<Q: Serialize + Sync>(&self, query: &Q) -> anyhow::Result<EventAnswer> {
        let response = self.client.get(&self.url).query(query).with_context().send().await?;
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).cloned().context("an answer without a type")?;
        let wanted = match status {
            StatusCode::OK => "application/json",
            status if status.is_client_error() => "application/problem+json",
            status => bail!("event-service answered {status}"),
        };
        if !kind.as_bytes().starts_with(wanted.as_bytes()) {
            bail!("event-service answered {status} as {kind:?}");
        }
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
        let retry_after: Option<HeaderValue> = response.headers().get(header::RETRY_AFTER).cloned();
        headers.extend(retry_after.map(|value| (header::RETRY_AFTER, value)));
        Ok(EventAnswer { status, headers, body: response.bytes().await? })
    }
}
