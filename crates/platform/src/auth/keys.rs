//! The public keys that verify access tokens: fetched from user-service, cached, kept while it is down.
//!
//! A token with a known `kid` is always checked at once. An unknown `kid` may belong to a new key, or be made up. It starts
//! a fetch of the keys in the background, and the request waits for that only briefly.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use jsonwebtoken::{DecodingKey, jwk::JwkSet};
use reqwest::Client;
use tokio::{
    sync::{RwLock, watch},
    time::Instant,
};

use super::invalid_token;
use crate::{
    ApiError, ApiResult, Lifecycle, client,
    task::{Schedule, repeat},
};

/// The pause after a fetch. During it, unknown `kid`s are answered from the cache.
const PAUSE: Duration = Duration::from_secs(2);
/// The pause doubles with each fetch that fails in a row, up to this.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The pause while there is no key at all: every request waits for the first one.
const FIRST_KEY_PAUSE: Duration = Duration::from_millis(200);
/// The longest that a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long requests wait for a fetch, counted from its start.
const WAIT: Duration = Duration::from_millis(500);
/// Keys that user-service withdrew are forgotten after this time. New ones are known before they sign: user-service
/// publishes them two minutes earlier.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Public keys by `kid`. Cheap to clone.
#[derive(Clone)]
pub struct AccessKeys {
    inner: Arc<Inner>,
}

struct Inner {
    keys: RwLock<HashMap<String, DecodingKey>>,
    source: Option<Source>,
}

struct Source {
    url: String,
    client: Client,
    fetches: Mutex<Fetches>,
}

/// The state of fetching.
#[derive(Default)]
struct Fetches {
    /// The fetch under way; its sender is dropped when it ends.
    running: Option<Running>,
    /// No request starts another fetch before this time.
    paused_until: Option<Instant>,
    failures_in_a_row: u32,
}

#[derive(Clone)]
struct Running {
    since: Instant,
    ended: watch::Receiver<()>,
}

impl AccessKeys {
    /// Keys at hand, fetched from nowhere: user-service's own.
    pub fn fixed(keys: HashMap<String, DecodingKey>) -> Self {
        Self { inner: Arc::new(Inner { keys: RwLock::new(keys), source: None }) }
    }

    /// Puts other keys in the place of the present ones, in every clone: user-service, when its key files change.
    pub async fn replace(&self, keys: HashMap<String, DecodingKey>) {
        *self.inner.keys.write().await = keys;
    }

    /// Keys fetched from a JWKS document (RFC 7517) at `url`, at first need and every minute.
    pub fn remote(url: &str) -> Self {
        Self::remote_with_client(client::build(FETCH_TIMEOUT), url)
    }

    /// [`AccessKeys::remote`] by a client that has other uses too.
    pub fn remote_with_client(client: Client, url: &str) -> Self {
        let source = Source { url: url.to_owned(), client, fetches: Mutex::default() };
        Self { inner: Arc::new(Inner { keys: RwLock::default(), source: Some(source) }) }
    }

    /// The key of that id. 401 if there is none, 503 `keys_unavailable` if none could ever be fetched.
    pub async fn find(&self, kid: &str) -> ApiResult<DecodingKey> {
        if let Some(key) = self.get(kid).await {
            return Ok(key);
        }
        let Some(source) = &self.inner.source else { return Err(invalid_token()) };
        if self.is_empty().await {
            self.wait_for_first_key(source).await;
        } else if let Some(running) = self.fetch_unless_paused(source) {
            running.wait(WAIT).await;
        }
        if let Some(key) = self.get(kid).await {
            return Ok(key);
        }
        if self.is_empty().await {
            let detail = "tokens cannot be checked until user-service answers; try again";
            return Err(ApiError::unavailable("keys_unavailable", detail, anyhow!("no key was fetched yet")));
        }
        Err(invalid_token())
    }

    /// Waits for a fetch, because nobody can be served before one has succeeded. One that was under way already may have
    /// found no user-service when it began, so the next one is waited for too.
    async fn wait_for_first_key(&self, source: &Source) {
        let began = Instant::now();
        loop {
            if let Some(until) = source.paused_until() {
                tokio::time::sleep_until(until).await;
            }
            let Some(running) = self.fetch_unless_paused(source) else { return };
            let since = running.since;
            running.wait(FETCH_TIMEOUT).await;
            if since >= began || !self.is_empty().await {
                return;
            }
        }
    }

    /// Starts to fetch the keys now and every minute. A failed fetch keeps the known keys.
    pub fn start_refreshing(&self, lifecycle: &Lifecycle) {
        if self.inner.source.is_none() {
            return;
        }
        let keys = self.clone();
        repeat(lifecycle, "access_keys", Schedule::every(MAX_AGE), move || {
            let keys = keys.clone();
            async move { keys.refresh().await }
        });
    }

    async fn refresh(&self) -> anyhow::Result<()> {
        let Some(source) = &self.inner.source else { return Ok(()) };
        self.fetch(source).wait(FETCH_TIMEOUT + PAUSE).await;
        ensure!(lock(&source.fetches).failures_in_a_row == 0, "keys of user-service not fetched from {}", source.url);
        Ok(())
    }

    async fn get(&self, kid: &str) -> Option<DecodingKey> {
        self.inner.keys.read().await.get(kid).cloned()
    }

    async fn is_empty(&self) -> bool {
        self.inner.keys.read().await.is_empty()
    }

    fn fetch_unless_paused(&self, source: &Source) -> Option<Running> {
        let paused = source.paused_until().is_some_and(|until| Instant::now() < until);
        (!paused).then(|| self.fetch(source))
    }

    /// The fetch under way, or a new one: there is never more than one.
    fn fetch(&self, source: &Source) -> Running {
        let mut fetches = lock(&source.fetches);
        if let Some(running) = &fetches.running {
            return running.clone();
        }
        let (sender, ended) = watch::channel(());
        let running = Running { since: Instant::now(), ended };
        fetches.running = Some(running.clone());
        let keys = self.clone();
        // In its own task, because the request that caused it may be cancelled.
        tokio::spawn(async move {
            keys.fetch_once().await;
            drop(sender);
        });
        running
    }

    async fn fetch_once(&self) {
        let Some(source) = &self.inner.source else { return };
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, source.get()).await;
        let fetched = fetched.unwrap_or_else(|_| Err(anyhow!("no answer within {FETCH_TIMEOUT:?}")));
        let failed = fetched.is_err();
        match fetched {
            Ok(keys) => self.replace(keys).await,
            Err(error) => tracing::debug!(error = format!("{error:#}"), "keys of user-service not fetched"),
        }
        let no_key = self.is_empty().await;
        let mut fetches = lock(&source.fetches);
        fetches.failures_in_a_row = if failed { fetches.failures_in_a_row + 1 } else { 0 };
        let pause = if no_key { FIRST_KEY_PAUSE } else { pause(fetches.failures_in_a_row) };
        fetches.paused_until = Some(Instant::now() + pause);
        fetches.running = None;
    }
}

impl Running {
    /// Waits for the end of the fetch, until `limit` after its start.
    async fn wait(mut self, limit: Duration) {
        tokio::time::timeout_at(self.since + limit, self.ended.changed()).await.ok();
    }
}

impl Source {
    fn paused_until(&self) -> Option<Instant> {
        lock(&self.fetches).paused_until
    }

    async fn get(&self) -> anyhow::Result<HashMap<String, DecodingKey>> {
        let response = self.client.get(&self.url).send().await?.error_for_status()?;
        let set: JwkSet = response.json().await?;
        parse(&set).with_context(|| format!("{} holds no usable key", self.url))
    }
}

fn pause(failures_in_a_row: u32) -> Duration {
    PAUSE.saturating_mul(1 << failures_in_a_row.saturating_sub(1).min(8)).min(MAX_PAUSE)
}

fn lock(fetches: &Mutex<Fetches>) -> MutexGuard<'_, Fetches> {
    fetches.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parse(set: &JwkSet) -> Option<HashMap<String, DecodingKey>> {
    let keys: HashMap<_, _> = set
        .keys
        .iter()
        .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?)))
        .collect();
    (!keys.is_empty()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
    use futures::future::join_all;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    /// A user-service that answers the first `answers` fetches with one key, and then with `then`.
    async fn user_service(answers: usize, then: Then) -> (AccessKeys, Arc<AtomicUsize>) {
        let fetches = Arc::new(AtomicUsize::new(0));
        let count = fetches.clone();
        let jwks = move || {
            let fetch = count.fetch_add(1, Ordering::SeqCst);
            async move {
                let key =
                    json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "known", "x": "A".repeat(43) });
                match then {
                    _ if fetch < answers => Json(json!({ "keys": [key] })).into_response(),
                    Then::Fails => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                    Then::AnswersLater if fetch > 0 => Json(json!({ "keys": [key] })).into_response(),
                    Then::IsSilent | Then::AnswersLater => std::future::pending().await,
                }
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().route("/jwks.json", get(jwks))).into_future());
        (AccessKeys::remote(&url), fetches)
    }

    #[derive(Clone, Copy)]
    enum Then {
        Fails,
        IsSilent,
        /// Silent once.
        AnswersLater,
    }

    /// As if the pause after the last fetch were over.
    fn end_pause(keys: &AccessKeys) {
        lock(&keys.inner.source.as_ref().unwrap().fetches).paused_until = None;
    }

    async fn refusal(keys: &AccessKeys, kid: &str) -> &'static str {
        keys.find(kid).await.err().unwrap().code()
    }

    #[tokio::test]
    async fn while_user_service_does_not_answer_waits_are_short_and_known_keys_are_found_at_once() {
        let (keys, fetches) = user_service(1, Then::IsSilent).await;
        keys.find("known").await.unwrap();
        end_pause(&keys);
        let began = Instant::now();

        let unknown = join_all((0..100).map(async |n| refusal(&keys, &format!("unknown {n}")).await));
        let (unknown, known) = tokio::join!(unknown, async {
            keys.find("known").await.unwrap();
            began.elapsed()
        });

        assert!(unknown.iter().all(|code| *code == "invalid_token"));
        assert!(known < WAIT, "{known:?}");
        assert!(began.elapsed() < FETCH_TIMEOUT, "{:?}", began.elapsed());
        assert_eq!(fetches.load(Ordering::SeqCst), 2, "all of them wait for one fetch");
        let later = Instant::now();
        assert_eq!(refusal(&keys, "unknown").await, "invalid_token");
        assert!(later.elapsed() < WAIT, "a fetch that has been going on for long is waited for no more");
    }

    #[tokio::test]
    async fn a_fetch_that_failed_is_not_tried_again_at_once() {
        let (keys, fetches) = user_service(1, Then::Fails).await;
        keys.find("known").await.unwrap();
        end_pause(&keys);

        for _ in 0..20 {
            assert_eq!(refusal(&keys, "unknown").await, "invalid_token");
        }

        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn without_any_key_all_requests_wait_for_one_fetch_after_a_short_pause() {
        let (keys, fetches) = user_service(0, Then::Fails).await;
        assert_eq!(refusal(&keys, "known").await, "keys_unavailable");

        let refusals = join_all((0..20).map(|_| refusal(&keys, "known"))).await;

        assert!(refusals.iter().all(|code| *code == "keys_unavailable"));
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn who_comes_during_a_vain_fetch_of_the_first_key_waits_for_the_next_one() {
        let (keys, fetches) = user_service(0, Then::AnswersLater).await;
        let first = tokio::spawn({
            let keys = keys.clone();
            async move { refusal(&keys, "known").await }
        });
        while fetches.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }

        keys.find("known").await.unwrap();

        assert_eq!(first.await.unwrap(), "keys_unavailable");
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_kid_that_is_still_unknown_after_a_fetch_is_not_asked_for_again_at_once() {
        let (keys, fetches) = user_service(usize::MAX, Then::Fails).await;

        for _ in 0..20 {
            assert_eq!(refusal(&keys, "unknown").await, "invalid_token");
        }

        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_pause_grows_with_the_failures_up_to_a_limit() {
        assert_eq!([0, 1, 2, 3].map(|failures| pause(failures).as_secs()), [2, 2, 4, 8]);
        assert_eq!(pause(1000), MAX_PAUSE);
    }
}
