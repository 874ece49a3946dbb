//! The rows of the outbox: written in the transaction of the change, leased by a relay, removed once published.
//!
//! The relay reads them as plain documents, so that an invalid one does not prevent it from reading the others.

use std::time::Duration;

use bson::{Bson, DateTime as BsonDateTime, Document, doc};
use chrono::DateTime;
use futures::TryStreamExt;
use mongodb::{
    Collection,
    error::{Error, Result},
};
use platform::{
    bus::MAX_BODY_BYTES,
    outbox::{Backlog, CLAIM_LEASE, HANDOFF_LEASE, OutboxMessage, OutboxRow, OutboxStore},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Store, query};

/// A document of `outbox` as it is written, leased to the process that writes it. A refusal adds the field `attempts`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct OutboxRecord {
    #[serde(rename = "_id")]
    id: String,
    message: Bson,
    traceparent: Option<String>,
    created_at: BsonDateTime,
    /// Until then no other relay claims the row.
    lease_until: BsonDateTime,
    /// Identifies the claim.
    lease_token: Option<String>,
}

impl TryFrom<&OutboxMessage> for OutboxRecord {
    type Error = Error;

    fn try_from(row: &OutboxMessage) -> Result<Self> {
        Ok(Self {
            id: row.id.to_string(),
            message: bson::serialize_to_bson(&row.message).map_err(Error::custom)?,
            traceparent: row.traceparent.clone(),
            created_at: row.created_at.into(),
            lease_until: (row.created_at + HANDOFF_LEASE).into(),
            lease_token: None,
        })
    }
}

/// The row that the relay publishes, made from any document.
fn to_row(mut document: Document) -> OutboxRow<Bson> {
    let id = document.remove("_id").unwrap_or_default();
    let message = document.remove("message").unwrap_or_default();
    // The same JSON as that of the message it was made from.
    let body = serde_json::to_value(&message).unwrap_or_default();
    OutboxRow {
        message_id: id.as_str().map_or_else(|| id.to_string(), ToOwned::to_owned),
        id,
        routing_key: body["type"].as_str().map(ToOwned::to_owned),
        body: Some(body.to_string().into_bytes()).filter(|body| body.len() <= MAX_BODY_BYTES),
        traceparent: document.get_str("traceparent").ok().map(ToOwned::to_owned),
        attempts: document.get("attempts").and_then(Bson::as_i32).map_or(0, i32::unsigned_abs),
        created_at: document.get_datetime("created_at").map_or(DateTime::UNIX_EPOCH, |at| at.to_chrono()),
    }
}

impl Store {
    pub async fn outbox_backlog(&self) -> Result<Backlog> {
        let store = self.clone();
        query(async move {
            let rows = store.outbox_documents();
            let unpublished = rows.count_documents(doc! {}).await?;
            if unpublished == 0 {
                return Ok(Backlog::default());
            }
            let refused = rows.count_documents(doc! { "attempts": { "$gt": 0 } }).await?;
            let fresh = doc! { "attempts": null, "created_at": { "$type": "date" } };
            let oldest = rows.find_one(fresh).sort(doc! { "created_at": 1 }).await?.map(to_row);
            let now = store.server_time().await?;
            let lag_seconds = oldest.map_or(0.0, |row| (now - row.created_at).as_seconds_f64());
            Ok(Backlog { unpublished, refused, lag_seconds })
        })
        .await
    }

    fn outbox_documents(&self) -> Collection<Document> {
        self.outbox.clone_with_type()
    }

    async fn claim_rows(&self, limit: u32) -> Result<Vec<Document>> {
        let rows = self.outbox_documents();
        let now = self.server_time().await?;
        let free = doc! { "lease_until": { "$lte": BsonDateTime::from(now) } };
        // A row that was never refused has no `attempts`, which comes before every number.
        let order = doc! { "attempts": 1, "created_at": 1 };
        let found = rows.find(free.clone()).sort(order.clone()).limit(i64::from(limit)).projection(doc! { "_id": 1 });
        let found: Vec<Document> = found.await?.try_collect().await?;
        let ids: Vec<Bson> = found.into_iter().filter_map(|mut row| row.remove("_id")).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let token = Uuid::new_v4().to_string();
        let lease = doc! { "$set": { "lease_until": BsonDateTime::from(now + CLAIM_LEASE), "lease_token": &token } };
        let mut still_free = free;
        still_free.insert("_id", doc! { "$in": &ids });
        rows.update_many(still_free, lease).await?;
        let ours = doc! { "_id": { "$in": ids }, "lease_token": token };
        rows.find(ours).sort(order).await?.try_collect().await
    }
}

impl OutboxStore for Store {
    type Id = Bson;

    async fn next_due(&self) -> anyhow::Result<Option<Duration>> {
        let store = self.clone();
        let due = query(async move {
            let first = store.outbox_documents().find_one(doc! {}).sort(doc! { "lease_until": 1 }).await?;
            let Some(first) = first else { return Ok(None) };
            let until = first.get_datetime("lease_until").map_or(DateTime::UNIX_EPOCH, |until| until.to_chrono());
            Ok(Some(until - store.server_time().await?))
        });
        Ok(due.await?.map(|due| due.to_std().unwrap_or_default()))
    }

    async fn claim(&self, limit: u32) -> anyhow::Result<Vec<OutboxRow<Bson>>> {
        let store = self.clone();
        let rows = query(async move { store.claim_rows(limit).await }).await?;
        Ok(rows.into_iter().map(to_row).collect())
    }

    async fn mark_published(&self, ids: &[Bson]) -> anyhow::Result<()> {
        let (rows, conditions) = (self.outbox_documents(), with_ids(ids));
        query(async move { rows.delete_many(conditions).await }).await?;
        Ok(())
    }

    async fn release(&self, ids: &[Bson]) -> anyhow::Result<()> {
        let (rows, conditions) = (self.outbox_documents(), with_ids(ids));
        let free = doc! { "$set": { "lease_until": BsonDateTime::from_millis(0) } };
        query(async move { rows.update_many(conditions, free).await }).await?;
        Ok(())
    }

    async fn postpone(&self, ids: &[Bson], pause: Duration) -> anyhow::Result<()> {
        let (store, conditions) = (self.clone(), with_ids(ids));
        query(async move {
            let until = BsonDateTime::from(store.server_time().await? + pause);
            let later = doc! { "$set": { "lease_until": until }, "$inc": { "attempts": 1_i32 } };
            store.outbox_documents().update_many(conditions, later).await
        })
        .await?;
        Ok(())
    }
}

fn with_ids(ids: &[Bson]) -> Document {
    doc! { "_id": { "$in": ids } }
}

#[cfg(test)]
mod tests {
    use contracts::message::{EventFact, Message};

    use super::*;

    fn document(message: &Message) -> Document {
        let (id, created_at) = (Uuid::nil(), DateTime::from_timestamp_millis(1_700_000_000_000).unwrap());
        let message = OutboxMessage { id, message: message.clone(), traceparent: Some("00-ab".to_owned()), created_at };
        bson::serialize_to_document(&OutboxRecord::try_from(&message).unwrap()).unwrap()
    }

    #[test]
    fn a_row_is_published_as_the_message_it_was_made_from() {
        let at = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        let message = Message::EventChanged(EventFact {
            event_id: "e1".to_owned(),
            title: "Jazz \u{1f3b7}".to_owned(),
            venue: "Hall".to_owned(),
            starts_at: at,
            ends_at: at,
            time_zone: "Europe/Berlin".to_owned(),
            changed: vec!["title".to_owned()],
            version: i64::MAX,
            edited_version: None,
            unannounced: false,
            occurred_at: at,
        });

        let row = to_row(document(&message));

        assert_eq!(serde_json::from_slice::<Message>(&row.body.unwrap()).unwrap(), message);
        assert_eq!((row.routing_key.as_deref(), row.message_id), (Some("event.changed"), Uuid::nil().to_string()));
        assert_eq!((row.traceparent.as_deref(), row.attempts), (Some("00-ab"), 0));
    }

    #[test]
    fn an_invalid_row_has_no_routing_key() {
        let invalid = [
            doc! {},
            doc! { "_id": 7, "message": 5, "created_at": "x" },
            doc! { "message": { "type": 5 }, "attempts": 3 },
        ];

        let rows = invalid.map(to_row);

        assert!(rows.iter().all(|row| row.routing_key.is_none()));
        assert_eq!((rows[1].message_id.as_str(), rows[2].attempts), ("7", 3));
    }
}
