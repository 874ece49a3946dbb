//! Deleted accounts, and what their organizers leave behind.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, doc};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::message::UserFact;
use futures::TryStreamExt;
use mongodb::error::Result;
use serde::Deserialize;

use super::{Store, query, until_earliest};
use crate::domain::EventStatus;

/// Events are looked for once more this long after the deletion was received: until then, a replica of an older
/// version, or a request that began before, may still create or publish one.
const RECHECK_AFTER: TimeDelta = TimeDelta::minutes(2);

/// A document of `deleted_accounts`. It stays, so that events of the account are refused from then on. Its `due_at`, when
/// events are to be cancelled, is removed once that is finished.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct AccountDeletion {
    #[serde(rename = "_id")]
    pub user_id: i32,
    /// When this service heard of it, by the database's clock.
    received_at: BsonDateTime,
}

/// An event that has not ended and is not cancelled.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenEvent {
    #[serde(rename = "_id")]
    pub id: String,
    pub status: EventStatus,
}

impl Store {
    /// Stores that an account was deleted. Idempotent.
    pub async fn insert_account_deletion(&self, user: UserFact) -> Result<()> {
        let store = self.clone();
        query(async move {
            let now = BsonDateTime::from(store.server_time().await?);
            let deletion =
                doc! { "deleted_at": BsonDateTime::from(user.occurred_at), "received_at": now, "due_at": now };
            let of_user = doc! { "_id": user.user_id };
            store.deletions.update_one(of_user, doc! { "$setOnInsert": deletion }).upsert(true).await.map(drop)
        })
        .await
    }

    pub async fn is_account_deleted(&self, user_id: i32) -> Result<bool> {
        let deletions = self.deletions.clone();
        query(async move { Ok(deletions.find_one(doc! { "_id": user_id }).await?.is_some()) }).await
    }

    /// The time until the first deletion is due; `None` if there is none.
    pub async fn until_first_account_deletion(&self) -> Result<Option<Duration>> {
        until_earliest(&self.deletions, doc! { "due_at": { "$exists": true } }, "due_at").await
    }

    /// Up to `limit` deletions that are due, longest due first.
    pub async fn list_due_account_deletions(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<AccountDeletion>> {
        let deletions = self.deletions.clone();
        let due = doc! { "due_at": { "$lte": BsonDateTime::from(now) } };
        query(async move {
            deletions.find(due).sort(doc! { "due_at": 1 }).limit(i64::from(limit)).await?.try_collect().await
        })
        .await
    }

    /// Up to `limit` events of an organizer that have not ended by `now` and are not cancelled.
    pub async fn list_open_events(&self, organizer_id: i32, now: DateTime<Utc>, limit: u32) -> Result<Vec<OpenEvent>> {
        let events = self.events.clone_with_type::<OpenEvent>();
        let open = doc! {
            "organizer_id": organizer_id, "status": { "$ne": "cancelled" }, "ends_at": { "$gt": BsonDateTime::from(now) },
        };
        query(async move {
            let found = events.find(open).projection(doc! { "_id": 1, "status": 1 });
            found.limit(i64::from(limit)).await?.try_collect().await
        })
        .await
    }

    /// Stores that no event of the account was open at `now`. The first time, it is due once more.
    pub async fn store_events_cancelled(&self, deletion: AccountDeletion, now: DateTime<Utc>) -> Result<()> {
        let deletions = self.deletions.clone();
        let recheck_at = deletion.received_at.to_chrono() + RECHECK_AFTER;
        let update = if now < recheck_at {
            doc! { "$set": { "due_at": BsonDateTime::from(recheck_at) } }
        } else {
            doc! { "$unset": { "due_at": "" } }
        };
        query(async move { deletions.update_one(doc! { "_id": deletion.user_id }, update).await.map(drop) }).await
    }
}
