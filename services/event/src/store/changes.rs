//! Changes that holders are not told of yet: written with the edit, removed with the message to holders.

use bson::{DateTime as BsonDateTime, doc};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use mongodb::{ClientSession, error::Result};
use serde::{Deserialize, Serialize};

use super::{Store, query};
use crate::domain::{Essentials, UntoldChange};

/// A document of `untold_changes`. A separate collection, because older versions write event documents as a whole and
/// would drop it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ChangeRecord {
    /// The event.
    #[serde(rename = "_id")]
    event_id: String,
    title: String,
    venue: String,
    time_zone: String,
    starts_at: BsonDateTime,
    ends_at: BsonDateTime,
    first_at: BsonDateTime,
    due_at: BsonDateTime,
    edited_version: i64,
    traceparent: Option<String>,
}

impl ChangeRecord {
    fn new(event_id: &str, change: UntoldChange) -> Self {
        let UntoldChange { told, first_at, due_at, edited_version, traceparent } = change;
        Self {
            event_id: event_id.to_owned(),
            title: told.title,
            venue: told.venue,
            time_zone: told.time_zone,
            starts_at: told.starts_at.into(),
            ends_at: told.ends_at.into(),
            first_at: first_at.into(),
            due_at: due_at.into(),
            edited_version,
            traceparent,
        }
    }
}

impl From<ChangeRecord> for UntoldChange {
    fn from(record: ChangeRecord) -> Self {
        Self {
            told: Essentials {
                title: record.title,
                venue: record.venue,
                time_zone: record.time_zone,
                starts_at: record.starts_at.into(),
                ends_at: record.ends_at.into(),
            },
            first_at: record.first_at.into(),
            due_at: record.due_at.into(),
            edited_version: record.edited_version,
            traceparent: record.traceparent,
        }
    }
}

#[derive(Deserialize)]
struct Due {
    #[serde(rename = "_id")]
    event_id: String,
}

impl Store {
    /// Up to `limit` events with a change that holders are due to be told of, longest due first.
    pub async fn list_due_changes(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<String>> {
        let changes = self.untold_changes.clone_with_type::<Due>();
        let due = doc! { "due_at": { "$lte": BsonDateTime::from(now) } };
        let rows: Vec<Due> = query(async move {
            let found = changes.find(due).projection(doc! { "_id": 1 }).sort(doc! { "due_at": 1 });
            found.limit(i64::from(limit)).await?.try_collect().await
        })
        .await?;
        Ok(rows.into_iter().map(|row| row.event_id).collect())
    }

    pub(super) async fn read_untold(
        &self,
        session: &mut ClientSession,
        event_id: &str,
    ) -> Result<Option<UntoldChange>> {
        let found = self.untold_changes.find_one(doc! { "_id": event_id }).session(session).await?;
        Ok(found.map(Into::into))
    }

    pub(super) async fn write_untold(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        untold: Option<UntoldChange>,
    ) -> Result<()> {
        let of_event = doc! { "_id": event_id };
        match untold {
            Some(change) => {
                let record = ChangeRecord::new(event_id, change);
                self.untold_changes.replace_one(of_event, record).upsert(true).session(session).await.map(drop)
            }
            None => self.untold_changes.delete_one(of_event).session(session).await.map(drop),
        }
    }
}
