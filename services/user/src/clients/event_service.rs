//! event-service over REST.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode, header},
};
use platform::{
    ApiError, ApiResult,
    client::{self, WithContext},
};
use reqwest::Client;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use url::Url;

const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Cheap to clone.
#[derive(Clone)]
pub struct EventClient {
    http: Client,
    events_url: String,
}

/// What event-service answered: a list or a refusal.
#[derive(Debug)]
pub struct EventsReply {
    /// 200 or 4xx.
    pub status: StatusCode,
    /// `Content-Type`, and `Retry-After` if there is one.
    pub headers: HeaderMap,
    /// JSON, or a problem.
    pub body: Bytes,
}

/// A list of events of which only the number counts.
#[derive(Deserialize)]
struct EventsPage {
    items: Vec<IgnoredAny>,
}

impl EventClient {
    pub fn new(base_url: &Url) -> Self {
        let events_url = format!("{}/api/events", base_url.as_str().trim_end_matches('/'));
        Self { http: client::build(CALL_TIMEOUT), events_url }
    }

    /// The published events that match `query`. 503 `event_service_unavailable` without a valid answer within 3 s.
    pub async fn list_events<Q: Serialize + Sync>(&self, query: &Q) -> ApiResult<EventsReply> {
        self.fetch(query).await.map_err(|cause| {
            ApiError::unavailable("event_service_unavailable", "the events are not available now; try again", cause)
        })
    }

    /// Whether an organizer has published events that have not ended. 503 `event_service_unavailable` without a valid
    /// answer within 3 s.
    pub async fn has_events_to_come(&self, organizer_id: i32) -> ApiResult<bool> {
        self.fetch_has_events(organizer_id).await.map_err(|cause| {
            let detail = "your events cannot be checked now; try again";
            ApiError::unavailable("event_service_unavailable", detail, cause)
        })
    }

    async fn fetch_has_events(&self, organizer_id: i32) -> anyhow::Result<bool> {
        let reply = self.fetch(&[("organizer_id", organizer_id), ("limit", 1)]).await?;
        ensure!(reply.status == StatusCode::OK, "event-service answered {}", reply.status);
        let page: EventsPage = serde_json::from_slice(&reply.body).context("event-service answered no list")?;
        Ok(!page.items.is_empty())
    }

    async fn fetch<Q: Serialize + Sync>(&self, query: &Q) -> anyhow::Result<EventsReply> {
        let response = self.http.get(&self.events_url).query(query).with_context().send().await?;
        let status = response.status();
        let media_type = response.headers().get(header::CONTENT_TYPE).cloned().context("no Content-Type")?;
        let expected = match status {
            StatusCode::OK => "application/json",
            status if status.is_client_error() => "application/problem+json",
            status => bail!("event-service answered {status}"),
        };
        ensure!(
            media_type.as_bytes().starts_with(expected.as_bytes()),
            "event-service answered {status} as {media_type:?}"
        );
        let retry_after = response.headers().get(header::RETRY_AFTER).cloned();
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, media_type)]);
        headers.extend(retry_after.map(|value| (header::RETRY_AFTER, value)));
        Ok(EventsReply { status, headers, body: response.bytes().await? })
    }
}
