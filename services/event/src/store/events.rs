//! Finding, listing and inserting events.

use bson::{DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use contracts::text::FOLD_VERSION;
use futures::TryStreamExt;
use mongodb::{Collection, error::Result};
use platform::mongo::is_duplicate_key;

use super::{EventRecord, Store, query, record};
use crate::domain::{
    Event,
    search::{self, EventFilter, Position},
};

impl Store {
    pub async fn find_event(&self, id: &str) -> Result<Option<Event>> {
        let (events, id) = (self.events.clone(), id.to_owned());
        query(async move { find(&events, &id).await }).await
    }

    /// Inserts an event, or finds the one that an interrupted request inserted under the same id.
    pub async fn insert_event(&self, event: Event) -> Result<Event> {
        let events = self.events.clone();
        let insert = async move {
            match events.insert_one(EventRecord::from(&event)).await {
                Ok(_) => Ok(event),
                Err(error) if is_duplicate_key(&error) => find(&events, &event.id).await?.ok_or(error),
                Err(error) => Err(error),
            }
        };
        query(insert).await
    }

    /// Up to `limit` events after a position, by start and then by id. Past ones only if the filter says so.
    pub async fn list_events(
        &self,
        filter: &EventFilter,
        after: Option<&Position>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Vec<Event>> {
        if filter.words.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let events = self.events.clone();
        let conditions = conditions(filter, after, now);
        let list = async move {
            let sort = doc! { "starts_at": 1, "_id": 1 };
            let found = events.find(conditions).sort(sort).limit(i64::from(limit)).await?;
            found.map_ok(Event::from).try_collect().await
        };
        query(list).await
    }

    /// Adds search keys to up to `limit` events with missing or outdated ones; returns how many.
    ///
    /// Replicas of an older version write such events while they run.
    pub async fn refresh_search_keys(&self, limit: u32) -> Result<u64> {
        let events = self.events.clone();
        let refresh = async move {
            let stale = doc! { "$or": [{ "keys_version": null }, { "keys_version": { "$lt": FOLD_VERSION } }] };
            let found: Vec<EventRecord> =
                events.find(stale.clone()).limit(i64::from(limit)).await?.try_collect().await?;
            let mut refreshed = 0;
            for event in found.into_iter().map(Event::from) {
                // A concurrent edit writes the keys as well, or leaves the event for the next call.
                let as_read = doc! { "_id": &event.id, "updated_at": BsonDateTime::from(event.updated_at) };
                let guard = doc! { "$and": [as_read, stale.clone()] };
                let updated = events.update_one(guard, doc! { "$set": record::search_keys(&event) }).await?;
                refreshed += updated.modified_count;
            }
            Ok(refreshed)
        };
        query(refresh).await
    }
}

async fn find(events: &Collection<EventRecord>, id: &str) -> Result<Option<Event>> {
    Ok(events.find_one(doc! { "_id": id }).await?.map(Event::from))
}

fn conditions(filter: &EventFilter, after: Option<&Position>, now: DateTime<Utc>) -> Document {
    let mut all: Vec<Document> = Vec::new();
    if !filter.include_hidden {
        all.push(doc! { "status": "published" });
    }
    // An event under way is listed until it ends.
    let ends_after = filter.from.or((!filter.include_hidden).then_some(now));
    if let Some(at) = ends_after {
        all.push(doc! { "ends_at": { "$gt": BsonDateTime::from(at) } });
    }
    if let Some(to) = filter.to {
        all.push(doc! { "starts_at": { "$lt": BsonDateTime::from(to) } });
    }
    if let Some(organizer_id) = filter.organizer_id {
        all.push(doc! { "organizer_id": organizer_id });
    }
    if let Some(category) = &filter.category {
        // A replica of an older version may just have written the event without a key.
        let key = search::category_key(category);
        all.push(doc! { "$or": [{ "category_key": key }, { "category": category }] });
    }
    if filter.has_seats {
        all.push(doc! { "available": { "$gt": 0 } });
    }
    // Words consist of letters, digits and marks, so they need no escaping in a regular expression. The anchor lets it
    // use the index.
    all.extend(filter.words.iter().flatten().map(|word| doc! { "words": { "$regex": format!("^{word}") } }));
    if let Some(Position { starts_at, id }) = after {
        let start = BsonDateTime::from(*starts_at);
        all.push(doc! { "starts_at": { "$gte": start } });
        all.push(doc! { "$or": [{ "starts_at": { "$gt": start } }, { "starts_at": start, "_id": { "$gt": id } }] });
    }
    if all.is_empty() {
        doc! {}
    } else {
        doc! { "$and": all }
    }
}
