//! Reads go through a small cache, so that a rush on one page is bounded by HTTP and not by the database.
//!
//! Entries live for a quarter of a second and are read once however many ask at the same time. What this replica
//! writes is forgotten at once; what another one writes is seen when the entry ends. Who may see what is decided after
//! the cache.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use moka::future::Cache;
use mongodb::error::Error;
use platform::{ApiError, Clock, mongo::is_unavailable, page::Page};

use crate::{
    domain::{
        Event, Refusal,
        search::{EventFilter, Position},
    },
    routes::EventResponse,
    store::Store,
};

/// How long a read may be behind the database.
const MAX_AGE: Duration = Duration::from_millis(250);
/// Memory for events and for lists, each, in bytes of JSON.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The cache in front of the store. Cheap to clone.
#[derive(Clone)]
pub struct Reads {
    store: Store,
    clock: Clock,
    events: Cache<String, Arc<CachedEvent>>,
    lists: Cache<ListKey, Bytes>,
}

/// An event and its JSON.
pub struct CachedEvent {
    /// The event.
    pub event: Event,
    /// As it is answered.
    pub json: Bytes,
}

/// What tells one page of one list from another.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ListKey {
    /// Which events.
    pub filter: EventFilter,
    /// Those after this one.
    pub after: Option<Position>,
    /// Items a page.
    pub limit: u32,
}

/// Why a read failed.
enum Fault {
    NotFound,
    Database(Error),
}

impl Reads {
    /// A cache in front of that store.
    pub fn new(store: Store, clock: Clock) -> Self {
        let events = Cache::builder()
            .time_to_live(MAX_AGE)
            .max_capacity(MAX_BYTES)
            .weigher(|_, cached: &Arc<CachedEvent>| weight(cached.json.len() * 2))
            .build();
        let lists = Cache::builder()
            .time_to_live(MAX_AGE)
            .max_capacity(MAX_BYTES)
            .weigher(|_, json: &Bytes| weight(json.len()))
            .build();
        Self { store, clock, events, lists }
    }

    /// The event of that id; 404 `event_not_found` if there is none.
    pub async fn event(&self, id: &str) -> Result<Arc<CachedEvent>, ApiError> {
        // Absence is not kept: an event that another replica has just made is found at once.
        let read = async {
            let event = self.store.find_event(id).await.map_err(Fault::Database)?.ok_or(Fault::NotFound)?;
            let json = to_json(&EventResponse::from(&event));
            Ok(Arc::new(CachedEvent { event, json }))
        };
        self.events.try_get_with_by_ref(id, read).await.map_err(|fault| to_api_error(&fault))
    }

    /// A page of a list, as JSON.
    pub async fn list(&self, key: ListKey) -> Result<Bytes, ApiError> {
        let ListKey { filter, after, limit } = key.clone();
        let read = async {
            let now = self.clock.now();
            let rows =
                self.store.list_events(&filter, after.as_ref(), limit + 1, now).await.map_err(Fault::Database)?;
            let page = Page::of(rows, limit, |last| (last.details.starts_at.timestamp_millis(), last.id.clone()));
            Ok(to_json(&page.map(|event| EventResponse::from(&event))))
        };
        self.lists.try_get_with(key, read).await.map_err(|fault| to_api_error(&fault))
    }

    /// Forgets an event that has changed.
    pub async fn forget_event(&self, id: &str) {
        self.events.invalidate(id).await;
    }

    /// Forgets all lists.
    pub fn forget_lists(&self) {
        self.lists.invalidate_all();
    }
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes + 512).unwrap_or(u32::MAX)
}

fn to_json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).expect("a response is plain data").into()
}

fn to_api_error(fault: &Fault) -> ApiError {
    match fault {
        Fault::NotFound => Refusal::EventNotFound.into(),
        // Shared by everybody who waited for the same read, hence told in words.
        Fault::Database(error) if is_unavailable(error) => {
            ApiError::unavailable("database_unavailable", "the database does not answer; try again", error.clone())
        }
        Fault::Database(error) => ApiError::internal(error.clone()),
    }
}
