//! Deleted accounts: their notifications go, and later ones are not stored.

use bson::{DateTime as BsonDateTime, doc};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use mongodb::{ClientSession, error::Result};

use super::{Attempts, Store, query, row::CounterRow};

/// The most accounts that one round cleans up.
const BATCH: i64 = 100;

impl Store {
    /// Deletes the notifications of a deleted account and stores no more of them; gives how many there were. Safe to
    /// repeat.
    pub async fn delete_account(&self, user_id: i32, deleted_at: DateTime<Utc>) -> Result<u64> {
        let mut attempts = Attempts::new(&self.sessions);
        loop {
            let mut turn = attempts.begin().await?;
            let worked = self.delete_account_in(&mut turn.session, user_id, deleted_at).await;
            if let Some(outcome) = attempts.finish(turn, worked).await {
                return outcome;
            }
        }
    }

    async fn delete_account_in(
        &self,
        session: &mut ClientSession,
        user_id: i32,
        deleted_at: DateTime<Utc>,
    ) -> Result<u64> {
        let mark = doc! {
            "$set": { "deleted_at": BsonDateTime::from_chrono(deleted_at), "unread": 0_i64 },
            "$setOnInsert": { "last_seq": 0_i64 },
        };
        self.counters.update_one(doc! { "_id": user_id }, mark).upsert(true).session(&mut *session).await?;
        let deleted = self.notifications.delete_many(doc! { "user_id": user_id }).session(session).await?;
        Ok(deleted.deleted_count)
    }

    /// Whether the account is deleted.
    pub(super) async fn is_deleted(&self, session: &mut ClientSession, user_id: i32) -> Result<bool> {
        let row = self.counters.find_one(doc! { "_id": user_id }).session(session).await?;
        Ok(row.is_some_and(|row| row.deleted_at.is_some()))
    }

    /// Deletes what replicas of a version that does not know of deletions stored for deleted accounts during a
    /// rollout.
    pub async fn clean_up_deleted_accounts(&self) -> Result<()> {
        let counters = self.counters.clone();
        // Whatever such a replica stores is unread, and nobody can log in to read it.
        let left = doc! { "deleted_at": { "$exists": true }, "unread": { "$gt": 0_i64 } };
        let rows: Vec<CounterRow> =
            query(async move { counters.find(left).limit(BATCH).await?.try_collect().await }).await?;
        for row in rows {
            let Some(deleted_at) = row.deleted_at else { continue };
            self.delete_account(row.user_id, deleted_at.to_chrono()).await?;
        }
        Ok(())
    }
}
