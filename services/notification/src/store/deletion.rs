//! Deleted accounts: their notifications are deleted, and new ones are not stored.

use bson::{DateTime as BsonDateTime, doc};
use chrono::{DateTime, Utc};
use futures::{FutureExt, TryStreamExt};
use mongodb::{ClientSession, error::Result};
use platform::mongo::transaction::{WorkResult, transaction};

use super::{RETRY_TIMEOUT, Store, query, record::CounterRecord};

/// The most accounts that one purge handles.
const BATCH_SIZE: i64 = 100;

impl Store {
    /// Deletes the notifications of an account and marks it, so that no more are stored. Returns how many there were.
    /// Safe to repeat.
    pub async fn delete_account(&self, user_id: i32, deleted_at: DateTime<Utc>) -> Result<u64> {
        let deleting = transaction(&self.sessions, RETRY_TIMEOUT, self, move |session, store| {
            store.delete_account_in(session, user_id, deleted_at).boxed()
        });
        Ok(deleting.await?)
    }

    async fn delete_account_in(
        &self,
        session: &mut ClientSession,
        user_id: i32,
        deleted_at: DateTime<Utc>,
    ) -> WorkResult<u64> {
        let mark = doc! {
            "$set": { "deleted_at": BsonDateTime::from_chrono(deleted_at), "unread": 0_i64 },
            "$setOnInsert": { "last_seq": 0_i64 },
        };
        self.counters.update_one(doc! { "_id": user_id }, mark).upsert(true).session(&mut *session).await?;
        let result = self.notifications.delete_many(doc! { "user_id": user_id }).session(session).await?;
        Ok(result.deleted_count)
    }

    /// Deletes notifications that replicas of older versions stored for deleted accounts during a rollout: these
    /// versions ignore the mark.
    pub async fn purge_deleted_accounts(&self) -> Result<()> {
        let counters = self.counters.clone();
        // What such a replica stores stays unread, because nobody can log in to read it.
        let filter = doc! { "deleted_at": { "$exists": true }, "unread": { "$gt": 0_i64 } };
        let records: Vec<CounterRecord> =
            query(async move { counters.find(filter).limit(BATCH_SIZE).await?.try_collect().await }).await?;
        for record in records {
            let Some(deleted_at) = record.deleted_at else { continue };
            self.delete_account(record.user_id, deleted_at.to_chrono()).await?;
        }
        Ok(())
    }
}
