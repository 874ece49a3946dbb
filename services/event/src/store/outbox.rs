//! The rows of the outbox: written with the change that they tell of, leased by a relay, removed once published.

use bson::{Bson, DateTime as BsonDateTime, doc};
use futures::TryStreamExt;
use mongodb::error::{Error, Result};
use platform::outbox::{CLAIM_LEASE, OutboxMessage, OutboxStore};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Store, query};

/// A document of `outbox`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct OutboxRecord {
    #[serde(rename = "_id")]
    id: String,
    message: Bson,
    traceparent: Option<String>,
    created_at: BsonDateTime,
    /// Until then the row is left to the relay that claimed it.
    lease_until: BsonDateTime,
    /// Names the claim.
    #[serde(default)]
    lease_token: Option<String>,
}

/// How much waits in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Rows not yet published.
    pub rows: u64,
    /// How long the oldest has waited, in seconds.
    pub oldest_seconds: f64,
}

impl TryFrom<&OutboxMessage> for OutboxRecord {
    type Error = Error;

    fn try_from(row: &OutboxMessage) -> Result<Self> {
        Ok(Self {
            id: row.id.to_string(),
            message: bson::serialize_to_bson(&row.message).map_err(Error::custom)?,
            traceparent: row.traceparent.clone(),
            created_at: row.created_at.into(),
            lease_until: BsonDateTime::from_millis(0),
            lease_token: None,
        })
    }
}

impl TryFrom<OutboxRecord> for OutboxMessage {
    type Error = anyhow::Error;

    fn try_from(record: OutboxRecord) -> anyhow::Result<Self> {
        Ok(Self {
            id: record.id.parse()?,
            message: bson::deserialize_from_bson(record.message)?,
            traceparent: record.traceparent,
            created_at: record.created_at.into(),
        })
    }
}

impl Store {
    /// How much waits in the outbox.
    pub async fn outbox_backlog(&self) -> Result<Backlog> {
        let store = self.clone();
        query(async move {
            let oldest = store.outbox.find_one(doc! {}).sort(doc! { "created_at": 1 }).await?;
            let Some(oldest) = oldest else { return Ok(Backlog::default()) };
            let waited = store.server_time().await? - oldest.created_at.to_chrono();
            let rows = store.outbox.count_documents(doc! {}).await?;
            Ok(Backlog { rows, oldest_seconds: waited.as_seconds_f64() })
        })
        .await
    }

    async fn claim_rows(&self, limit: u32) -> Result<Vec<OutboxRecord>> {
        if self.outbox.find_one(doc! {}).await?.is_none() {
            return Ok(Vec::new());
        }
        let now = self.server_time().await?;
        let free = doc! { "lease_until": { "$lte": BsonDateTime::from(now) } };
        let found = self.outbox.find(free.clone()).sort(doc! { "created_at": 1 }).limit(i64::from(limit)).await?;
        let ids: Vec<String> = found.map_ok(|row| row.id).try_collect().await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let token = Uuid::new_v4().to_string();
        let lease = doc! { "$set": { "lease_until": BsonDateTime::from(now + CLAIM_LEASE), "lease_token": &token } };
        let mut still_free = free;
        still_free.insert("_id", doc! { "$in": &ids });
        self.outbox.update_many(still_free, lease).await?;
        let ours = doc! { "_id": { "$in": ids }, "lease_token": token };
        self.outbox.find(ours).sort(doc! { "created_at": 1 }).await?.try_collect().await
    }
}

impl OutboxStore for Store {
    async fn claim(&self, limit: u32) -> anyhow::Result<Vec<OutboxMessage>> {
        let store = self.clone();
        let rows = query(async move { store.claim_rows(limit).await }).await?;
        let readable = rows.into_iter().filter_map(|row| {
            let id = row.id.clone();
            // One that cannot be read stays where it is and is reported again; the others do not wait for it.
            OutboxMessage::try_from(row).inspect_err(|error| tracing::error!(id, %error, "unreadable outbox row")).ok()
        });
        Ok(readable.collect())
    }

    async fn mark_published(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        let (outbox, ids) = (self.outbox.clone(), texts(ids));
        query(async move { outbox.delete_many(doc! { "_id": { "$in": ids } }).await }).await?;
        Ok(())
    }

    async fn release(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        let (outbox, ids) = (self.outbox.clone(), texts(ids));
        let free = doc! { "$set": { "lease_until": BsonDateTime::from_millis(0) } };
        query(async move { outbox.update_many(doc! { "_id": { "$in": ids } }, free).await }).await?;
        Ok(())
    }
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}
