//! Which events exist, so that the page of one that does not is answered 404.
//!
//! It asks event-service like any visitor and caches the answers briefly. Without an answer the page is served as if
//! the event existed, because the page itself asks again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::bail;
use axum::http::StatusCode;
use moka::future::Cache;
use platform::client::{self, WithContext};
use reqwest::Client;
use tokio::time::Instant;
use url::Url;

/// The longest that a page waits for event-service.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer is kept.
const MAX_AGE: Duration = Duration::from_secs(5);
/// How many answers are kept.
const MAX_ANSWERS: u64 = 10_000;
/// The pause after event-service gave no answer. Nothing is asked during it, so that pages do not wait one by one.
const PAUSE: Duration = Duration::from_secs(5);

/// What is known about events. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    source: Option<Arc<Source>>,
}

struct Source {
    client: Client,
    url: String,
    answers: Cache<String, bool>,
    silent_until: Mutex<Option<Instant>>,
}

impl Events {
    /// Events of event-service at `url`; without one, every event counts as existing.
    pub fn new(url: Option<&Url>) -> Self {
        let source = |url: &Url| Source {
            client: client::build(TIMEOUT),
            url: format!("{}/api/events", url.as_str().trim_end_matches('/')),
            answers: Cache::builder().time_to_live(MAX_AGE).max_capacity(MAX_ANSWERS).build(),
            silent_until: Mutex::default(),
        };
        Self { source: url.map(|url| Arc::new(source(url))) }
    }

    /// Whether visitors certainly cannot see an event with that id.
    pub async fn is_missing(&self, id: &str) -> bool {
        if !is_event_id(id) {
            return true;
        }
        match &self.source {
            Some(source) => source.is_missing(id).await,
            None => false,
        }
    }
}

impl Source {
    async fn is_missing(&self, id: &str) -> bool {
        if let Some(missing) = self.answers.get(id).await {
            return missing;
        }
        if self.silent_until().is_some_and(|until| Instant::now() < until) {
            return false;
        }
        match self.answers.try_get_with_by_ref(id, self.ask(id)).await {
            Ok(missing) => missing,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "could not ask event-service about an event");
                *self.silent_until() = Some(Instant::now() + PAUSE);
                false
            }
        }
    }

    async fn ask(&self, id: &str) -> anyhow::Result<bool> {
        let response = self.client.get(format!("{}/{id}", self.url)).with_context().send().await?;
        match response.status() {
            StatusCode::OK => Ok(false),
            StatusCode::NOT_FOUND => Ok(true),
            status => bail!("event-service answered {status}"),
        }
    }

    fn silent_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.silent_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it can be an event's id, and so is safe as part of a path.
fn is_event_id(id: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&id.len()) && id.bytes().all(fit)
}
