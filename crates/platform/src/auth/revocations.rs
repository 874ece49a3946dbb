//! Sessions that ended before their tokens expire, and roles that were withdrawn. They are polled from user-service in
//! the background and looked up without waiting (docs/decisions/0015-revocations.md).

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use contracts::identity::{RevocationList, Role};
use reqwest::{Client, StatusCode, header};
use tokio::sync::{Mutex, watch};
use url::Url;

use crate::{
    Lifecycle, client,
    task::{Schedule, repeat},
};

/// How often the list is polled. Together with [`FETCH_TIMEOUT`], a session ends everywhere within 30 s.
const POLL_EVERY: Duration = Duration::from_secs(10);
/// The longest that one poll may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// The known ended sessions and changed roles. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub struct Revocations {
    known: Arc<watch::Sender<Known>>,
}

#[derive(Default)]
struct Known {
    sessions: HashSet<String>,
    roles: BTreeMap<i32, Role>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { known: Arc::new(watch::Sender::default()) }
    }
}

impl Revocations {
    /// Replaces the list by a newer one.
    pub fn replace(&self, list: RevocationList) {
        self.known.send_replace(Known { sessions: list.sessions.into_iter().collect(), roles: list.roles });
    }

    /// Whether a session has ended.
    pub fn has_ended(&self, session_id: &str) -> bool {
        self.known.borrow().sessions.contains(session_id)
    }

    /// Returns as soon as a session has ended.
    pub async fn ended(&self, session_id: &str) {
        // The sender lives as long as `self`, so this ends in no other way.
        self.known.subscribe().wait_for(|known| known.sessions.contains(session_id)).await.ok();
    }

    /// The role that a user's token still grants: the one it names, or the present one if that is lower.
    pub fn effective_role(&self, user_id: i32, named: Role) -> Role {
        self.known.borrow().roles.get(&user_id).map_or(named, |present| named.min(*present))
    }

    /// Starts to poll the list that user-service publishes beside the keys at `jwks_url`. A poll that fails keeps what
    /// is known; tokens then end by their own lifetime.
    pub fn start_polling(&self, lifecycle: &Lifecycle, jwks_url: &str) {
        // Every poll opens a new connection, so that it reaches whichever replica is there now.
        let http = client::builder(FETCH_TIMEOUT).pool_max_idle_per_host(0).build();
        let http = http.expect("the settings are constants that fit together");
        let poll = (self.clone(), http, jwks_url.to_owned(), Arc::new(Mutex::new(None)));
        repeat(lifecycle, "revocations", Schedule::every(POLL_EVERY), move || {
            let (revocations, http, jwks_url, etag) = poll.clone();
            async move {
                let mut etag = etag.lock().await;
                *etag = revocations.poll(&http, &jwks_url, etag.as_ref()).await?;
                Ok::<_, anyhow::Error>(())
            }
        });
    }

    /// Fetches the list unless it is the one that `etag` names; returns the tag of the list that is known now.
    async fn poll(
        &self,
        http: &Client,
        jwks_url: &str,
        etag: Option<&header::HeaderValue>,
    ) -> anyhow::Result<Option<header::HeaderValue>> {
        let url = Url::parse(jwks_url).and_then(|url| url.join("revocations.json")).context("JWKS_URL")?;
        let mut request = http.get(url);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let response = request.send().await?.error_for_status()?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(etag.cloned());
        }
        let etag = response.headers().get(header::ETAG).cloned();
        self.replace(response.json().await?);
        Ok(etag)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use axum::{
        Router,
        http::{HeaderMap, StatusCode},
        response::IntoResponse,
        routing::get,
    };
    use serde_json::json;

    use super::*;

    fn list(sessions: &[&str], roles: &[(i32, Role)]) -> RevocationList {
        RevocationList {
            sessions: sessions.iter().map(ToString::to_string).collect(),
            roles: roles.iter().copied().collect(),
        }
    }

    #[test]
    fn a_role_is_lowered_and_never_raised() {
        let revocations = Revocations::default();
        revocations.replace(list(&[], &[(1, Role::Attendee), (2, Role::Admin)]));

        assert_eq!(revocations.effective_role(1, Role::Admin), Role::Attendee);
        assert_eq!(revocations.effective_role(2, Role::Attendee), Role::Attendee);
        assert_eq!(revocations.effective_role(3, Role::Organizer), Role::Organizer);
    }

    #[tokio::test]
    async fn waiting_for_the_end_of_a_session_returns_when_it_ends() {
        let revocations = Revocations::default();
        let waiting = tokio::spawn({
            let revocations = revocations.clone();
            async move { revocations.ended("a").await }
        });
        revocations.replace(list(&["b"], &[]));
        assert!(!revocations.has_ended("a") && !waiting.is_finished());

        revocations.replace(list(&["a"], &[]));

        tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("returned").expect("no panic");
    }

    /// user-service as far as its list goes.
    #[derive(Default)]
    struct UserService {
        answer: Mutex<Option<RevocationList>>,
        broken: AtomicBool,
        unchanged: AtomicUsize,
    }

    async fn published(service: Arc<UserService>) -> String {
        let handler = move |headers: HeaderMap| {
            let service = service.clone();
            async move {
                if service.broken.load(Ordering::SeqCst) {
                    return StatusCode::NOT_FOUND.into_response();
                }
                if headers.contains_key(header::IF_NONE_MATCH) {
                    service.unchanged.fetch_add(1, Ordering::SeqCst);
                    return StatusCode::NOT_MODIFIED.into_response();
                }
                let list = service.answer.lock().expect("not poisoned").clone();
                // Fields of a newer version are ignored.
                let mut body = serde_json::to_value(list.expect("an answer")).expect("plain data");
                body["since"] = json!(1);
                ([(header::ETAG, "\"1\"")], axum::Json(body)).into_response()
            }
        };
        let router = Router::new().route("/.well-known/revocations.json", get(handler));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/.well-known/jwks.json", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    #[tokio::test]
    async fn the_list_is_fetched_beside_the_keys_and_kept_while_user_service_is_broken() {
        let service = Arc::new(UserService::default());
        *service.answer.lock().expect("not poisoned") = Some(list(&["a"], &[(1, Role::Attendee)]));
        let url = published(service.clone()).await;
        let (revocations, http) = (Revocations::default(), client::build(FETCH_TIMEOUT));

        let etag = revocations.poll(&http, &url, None).await.expect("fetched");
        let same = revocations.poll(&http, &url, etag.as_ref()).await.expect("not modified");
        service.broken.store(true, Ordering::SeqCst);
        let failed = revocations.poll(&http, &url, same.as_ref()).await;

        assert!(etag.is_some() && etag == same);
        assert_eq!(service.unchanged.load(Ordering::SeqCst), 1);
        assert!(failed.is_err());
        assert!(revocations.has_ended("a"));
        assert_eq!(revocations.effective_role(1, Role::Organizer), Role::Attendee);
    }
}
