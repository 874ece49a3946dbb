//! Asks event-service whether an event exists, so that the page of a missing event has the status 404.
//!
//! Answers are cached for some seconds. While event-service is unavailable, every event counts as existing: the page
//! loads the event itself.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::bail;
use axum::http::StatusCode;
use contracts::reservation::is_event_id;
use moka::future::Cache;
use platform::client::{self, WithContext};
use reqwest::Client;
use tokio::time::Instant;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(1);
const CACHE_TTL: Duration = Duration::from_secs(5);
const CACHE_CAPACITY: u64 = 10_000;
/// The pause without requests after a failed one, so that not every page waits for the timeout.
const BACKOFF: Duration = Duration::from_secs(5);

/// Cheap to clone.
#[derive(Clone)]
pub struct EventClient {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    client: Client,
    url: String,
    /// By event: whether it is missing.
    cache: Cache<String, bool>,
    backoff_until: Mutex<Option<Instant>>,
}

impl EventClient {
    /// Without a URL, every event counts as existing.
    pub fn new(url: Option<&Url>) -> Self {
        let inner = |url: &Url| Inner {
            client: client::build(TIMEOUT),
            url: format!("{}/api/events", url.as_str().trim_end_matches('/')),
            cache: Cache::builder().time_to_live(CACHE_TTL).max_capacity(CACHE_CAPACITY).build(),
            backoff_until: Mutex::default(),
        };
        Self { inner: url.map(|url| Arc::new(inner(url))) }
    }

    /// Whether it is certain that visitors cannot see an event with that id.
    pub async fn is_missing(&self, id: &str) -> bool {
        if !is_event_id(id) {
            return true;
        }
        match &self.inner {
            Some(inner) => inner.is_missing(id).await,
            None => false,
        }
    }
}

impl Inner {
    async fn is_missing(&self, id: &str) -> bool {
        if let Some(missing) = self.cache.get(id).await {
            return missing;
        }
        if self.backoff_until().is_some_and(|until| Instant::now() < until) {
            return false;
        }
        match self.cache.try_get_with_by_ref(id, self.request(id)).await {
            Ok(missing) => missing,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "could not ask event-service about an event");
                *self.backoff_until() = Some(Instant::now() + BACKOFF);
                false
            }
        }
    }

    async fn request(&self, id: &str) -> anyhow::Result<bool> {
        let response = self.client.get(format!("{}/{id}", self.url)).with_context().send().await?;
        match response.status() {
            StatusCode::OK => Ok(false),
            StatusCode::NOT_FOUND => Ok(true),
            status => bail!("event-service answered {status}"),
        }
    }

    fn backoff_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.backoff_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
