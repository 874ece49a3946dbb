//! event-service, asked over REST at request time.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use platform::{
    ApiError, ApiResult,
    client::{self, WithContext},
};
use reqwest::Client;
use serde::{Deserialize, Serialize, de::IgnoredAny};
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

/// A list of events, of which only the number counts.
#[derive(Deserialize)]
struct EventsToCome {
    items: Vec<IgnoredAny>,
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

    /// Whether an organizer has published events that have not ended. 503 `event_service_unavailable` without a fit answer
    /// within 3 s.
    pub async fn has_events_to_come(&self, organizer_id: i32) -> ApiResult<bool> {
        self.ask_for_events_to_come(organizer_id).await.map_err(|cause| {
            let detail = "whether you have events to come cannot be told at this moment; try again";
            ApiError::unavailable("event_service_unavailable", detail, cause)
        })
    }

    async fn ask_for_events_to_come(&self, organizer_id: i32) -> anyhow::Result<bool> {
        let answer = self.ask(&[("organizer_id", organizer_id), ("limit", 1)]).await?;
        ensure!(answer.status == StatusCode::OK, "event-service answered {}", answer.status);
        let page: EventsToCome = serde_json::from_slice(&answer.body).context("event-service answered no list")?;
        Ok(!page.items.is_empty())
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
