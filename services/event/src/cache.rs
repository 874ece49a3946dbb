//! A small cache in front of reads, so that a rush on one page costs HTTP responses and no database queries.
//!
//! Entries live for a quarter of a second, and concurrent requests share one query. A change by this replica
//! invalidates entries at once; a change by another replica shows when the entry expires. Handlers check who may see an
//! event after the cache.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use moka::future::Cache;
use mongodb::error::{Error, Result};
use platform::Clock;

use crate::{
    domain::{
        event::Event,
        search::{EventFilter, Position},
    },
    store::Store,
};

const TIME_TO_LIVE: Duration = Duration::from_millis(250);
/// Memory for events and for lists, each, in bytes of JSON.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The cache in front of the store. Cheap to clone.
#[derive(Clone)]
pub struct EventCache {
    store: Store,
    clock: Clock,
    render: Render,
    events: Cache<String, Arc<CachedEvent>>,
    lists: Cache<ListKey, Bytes>,
}

/// Makes the JSON that is cached.
#[derive(Clone, Copy)]
pub struct Render {
    pub event: fn(&Event) -> Bytes,
    /// Takes up to one event more than fits on a page, and the number that fits.
    pub list: fn(Vec<Event>, u32) -> Bytes,
}

/// An event and its JSON.
pub struct CachedEvent {
    pub event: Event,
    pub json: Bytes,
}

/// Identifies one page of one list.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ListKey {
    pub filter: EventFilter,
    /// The page starts after this event.
    pub after: Option<Position>,
    /// Events per page.
    pub limit: u32,
}

impl EventCache {
    pub fn new(store: Store, clock: Clock, render: Render) -> Self {
        let events = Cache::builder()
            .time_to_live(TIME_TO_LIVE)
            .max_capacity(MAX_BYTES)
            .weigher(|_, cached: &Arc<CachedEvent>| weight(cached.json.len() * 2))
            .build();
        let lists = Cache::builder()
            .time_to_live(TIME_TO_LIVE)
            .max_capacity(MAX_BYTES)
            .weigher(|_, json: &Bytes| weight(json.len()))
            .build();
        Self { store, clock, render, events, lists }
    }

    pub async fn find_event(&self, id: &str) -> Result<Option<Arc<CachedEvent>>> {
        // `Err(None)` stands for an event that does not exist: errors are not cached, so an event that another replica
        // has just created is found at once.
        let read = async {
            let event = self.store.find_event(id).await.map_err(Some)?.ok_or(None)?;
            let json = (self.render.event)(&event);
            Ok(Arc::new(CachedEvent { event, json }))
        };
        match self.events.try_get_with_by_ref(id, read).await {
            Ok(cached) => Ok(Some(cached)),
            Err(failure) => Option::<Error>::clone(&failure).map_or(Ok(None), Err),
        }
    }

    /// A page of a list as JSON.
    pub async fn list_events(&self, key: ListKey) -> Result<Bytes> {
        let ListKey { filter, after, limit } = key.clone();
        let read = async {
            let rows = self.store.list_events(&filter, after.as_ref(), limit + 1, self.clock.now()).await?;
            Ok((self.render.list)(rows, limit))
        };
        self.lists.try_get_with(key, read).await.map_err(|error: Arc<Error>| Error::clone(&error))
    }

    pub async fn invalidate_event(&self, id: &str) {
        self.events.invalidate(id).await;
    }

    pub fn invalidate_lists(&self) {
        self.lists.invalidate_all();
    }
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes + 512).unwrap_or(u32::MAX)
}
