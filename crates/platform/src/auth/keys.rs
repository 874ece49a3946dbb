//! The public keys that verify access tokens: fetched from user-service, cached, kept while it is down.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context;
use jsonwebtoken::{DecodingKey, jwk::JwkSet};
use reqwest::Client;
use tokio::{
    sync::{Mutex, RwLock},
    time::Instant,
};

use super::invalid_token;
use crate::{
    ApiError, ApiResult, client,
    server::Lifecycle,
    task::{Schedule, repeat},
};

/// An unknown `kid` leads to at most one fetch in this time.
const MIN_REFRESH: Duration = Duration::from_secs(2);
/// The longest that a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Keys that user-service withdrew are forgotten after this time.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Public keys by `kid`. Cheap to clone.
#[derive(Clone)]
pub struct AccessKeys {
    keys: Arc<RwLock<HashMap<String, DecodingKey>>>,
    source: Option<Arc<Source>>,
}

struct Source {
    url: String,
    client: Client,
    last_fetch: Mutex<Option<Instant>>,
}

impl AccessKeys {
    /// Keys at hand, fetched from nowhere: user-service's own.
    pub fn fixed(keys: HashMap<String, DecodingKey>) -> Self {
        Self { keys: Arc::new(RwLock::new(keys)), source: None }
    }

    /// Puts other keys in the place of the present ones, in every clone: user-service, when its key files change.
    pub async fn replace(&self, keys: HashMap<String, DecodingKey>) {
        *self.keys.write().await = keys;
    }

    /// Keys fetched from a JWKS document (RFC 7517) at `url`, at first need and every five minutes.
    pub fn remote(url: &str) -> Self {
        Self::remote_by(client::build(FETCH_TIMEOUT), url)
    }

    /// [`AccessKeys::remote`] by a client that has other uses too.
    pub fn remote_by(client: Client, url: &str) -> Self {
        let source = Source { url: url.to_owned(), client, last_fetch: Mutex::new(None) };
        Self { keys: Arc::default(), source: Some(Arc::new(source)) }
    }

    /// The key of that id. 401 if there is none, 503 `keys_unavailable` if none could ever be fetched.
    pub async fn find(&self, kid: &str) -> ApiResult<DecodingKey> {
        if let Some(key) = self.keys.read().await.get(kid) {
            return Ok(key.clone());
        }
        if let Some(source) = &self.source {
            let fetched = self.refresh(source, MIN_REFRESH).await;
            if let Err(error) = fetched
                && self.keys.read().await.is_empty()
            {
                let detail = "tokens cannot be checked until user-service answers; try again";
                return Err(ApiError::unavailable("keys_unavailable", detail, error));
            }
        }
        self.keys.read().await.get(kid).cloned().ok_or_else(invalid_token)
    }

    /// Starts to fetch now and every five minutes. A failed fetch keeps the keys at hand.
    pub fn start_refreshing(&self, lifecycle: &Lifecycle) {
        let Some(source) = self.source.clone() else { return };
        let keys = self.clone();
        repeat(lifecycle, "access_keys", Schedule::every(MAX_AGE), move || {
            let (keys, source) = (keys.clone(), source.clone());
            async move { keys.refresh(&source, Duration::ZERO).await }
        });
    }

    async fn refresh(&self, source: &Source, at_most_every: Duration) -> anyhow::Result<()> {
        // Held across the fetch: whoever waits here finds the keys fresh.
        let mut last_fetch = source.last_fetch.lock().await;
        if last_fetch.is_some_and(|at| at.elapsed() < at_most_every) {
            return Ok(());
        }
        let response = source.client.get(&source.url).timeout(FETCH_TIMEOUT).send().await?.error_for_status()?;
        let set: JwkSet = response.json().await?;
        let keys = parse(&set).with_context(|| format!("{} holds no usable key", source.url))?;
        self.replace(keys).await;
        *last_fetch = Some(Instant::now());
        Ok(())
    }
}

fn parse(set: &JwkSet) -> Option<HashMap<String, DecodingKey>> {
    let keys: HashMap<_, _> = set
        .keys
        .iter()
        .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?)))
        .collect();
    (!keys.is_empty()).then_some(keys)
}
