//! Every query. Collections `notifications`, `counters` (per user, with the mark of deleted accounts) and `replicas`.
//!
//! A notification gets its sequence number and is inserted in one transaction, which serializes the inserts of a user:
//! a reader that has read up to N and asks for more misses nothing.

mod deletion;
mod record;
mod schema;

use std::{future::Future, time::Duration};

use bson::{Bson, DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use futures::{FutureExt, TryStreamExt};
use mongodb::{
    ClientSession, Collection, Database,
    change_stream::{ChangeStream, event::ChangeStreamEvent},
    error::Result,
    options::ReturnDocument,
};
use platform::mongo::{
    self, bounded, is_duplicate_key,
    sessions::Sessions,
    transaction::{WorkFailure, WorkResult, restart, transaction},
};
use uuid::Uuid;

pub use self::record::InsertEvent;
use self::record::{CounterRecord, NotificationRecord};
use crate::domain::{Counters, InsertOutcome, NewNotification, Notification};

/// Shorter than the timeout of requests.
const QUERY_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a transaction is retried: longer than conflicts last.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than the timeout of requests.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the server waits for inserts before it answers that there are none. A stopping process waits as long.
const WATCH_TIMEOUT: Duration = Duration::from_secs(4);

/// The database of notification-service. Cheap to clone.
///
/// The driver's futures must not be dropped midway. The futures of `mark_*`, `list_*` and `find_*` may be dropped, for
/// they run the driver's in tasks of their own.
#[derive(Clone)]
pub struct Store {
    database: Database,
    notifications: Collection<NotificationRecord>,
    counters: Collection<CounterRecord>,
    sessions: Sessions,
}

impl Store {
    pub fn new(database: Database) -> Self {
        Self {
            notifications: database.collection("notifications"),
            counters: database.collection("counters"),
            sessions: Sessions::new(database.clone()),
            database,
        }
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The sessions that transactions run in.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Creates or updates collections, validators and indexes. Safe to repeat.
    pub async fn migrate(&self) -> Result<()> {
        schema::migrate(&self.database).await
    }

    /// Fails unless the server answers.
    pub async fn ping(&self) -> std::result::Result<(), String> {
        mongo::ping(&self.database).await
    }

    /// Stores a notification, unless it is already stored or the account is deleted.
    pub async fn insert_notification(&self, new: &NewNotification) -> Result<InsertOutcome> {
        let inserting = transaction(&self.sessions, RETRY_TIMEOUT, (self, new), |session, (store, new)| {
            store.insert_in(session, new).boxed()
        });
        let result = inserting.await;
        platform::failpoint!("notification.store.committed");
        Ok(result?)
    }

    async fn insert_in(&self, session: &mut ClientSession, new: &NewNotification) -> WorkResult<InsertOutcome> {
        let increment = doc! { "$inc": { "last_seq": 1_i64, "unread": 1_i64 } };
        let counted = self
            .counters
            .find_one_and_update(doc! { "_id": new.user_id }, increment)
            .upsert(true)
            .return_document(ReturnDocument::After)
            .session(&mut *session)
            .await?;
        let CounterRecord { last_seq: seq, deleted_at, .. } =
            counted.ok_or_else(|| WorkFailure::conflict("the counters were not created"))?;
        if deleted_at.is_some() {
            restart(session).await?;
            return Ok(InsertOutcome::AccountDeleted);
        }
        platform::failpoint!("notification.store.counted");
        let record = NotificationRecord::new(new, seq);
        match self.notifications.insert_one(&record).session(&mut *session).await {
            Ok(_) => {
                platform::failpoint!("notification.store.inserted");
                Ok(InsertOutcome::Stored(seq))
            }
            Err(refused) if is_duplicate_key(&refused) => {
                restart(session).await?;
                let stored = self.is_stored(session, &record.id).await?;
                if stored { Ok(InsertOutcome::Duplicate) } else { Err(refused.into()) }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn is_stored(&self, session: &mut ClientSession, id: &str) -> Result<bool> {
        Ok(self.notifications.find_one(doc! { "_id": id }).session(session).await?.is_some())
    }

    /// Up to `limit` notifications of a user, newest first, with sequence numbers below `before`.
    pub async fn list_notifications(
        &self,
        user_id: i32,
        before: Option<i64>,
        unread_only: bool,
        limit: u32,
    ) -> Result<Vec<Notification>> {
        let mut filter = doc! { "user_id": user_id };
        if let Some(before) = before {
            filter.insert("seq", doc! { "$lt": before });
        }
        if unread_only {
            filter.insert("read_at", Bson::Null);
        }
        self.list(filter, doc! { "seq": -1 }, limit).await
    }

    /// Up to `limit` notifications of a user, oldest first, with sequence numbers above `after`.
    pub async fn list_notifications_after(&self, user_id: i32, after: i64, limit: u32) -> Result<Vec<Notification>> {
        self.list(doc! { "user_id": user_id, "seq": { "$gt": after } }, doc! { "seq": 1 }, limit).await
    }

    async fn list(&self, filter: Document, sort: Document, limit: u32) -> Result<Vec<Notification>> {
        let notifications = self.notifications.clone();
        query(async move {
            let records = notifications.find(filter).sort(sort).limit(i64::from(limit)).await?;
            records.map_ok(Notification::from).try_collect().await
        })
        .await
    }

    pub async fn find_counters(&self, user_id: i32) -> Result<Counters> {
        let counters = self.counters.clone();
        let record = query(async move { counters.find_one(doc! { "_id": user_id }).await }).await?;
        Ok(record.map(Counters::from).unwrap_or_default())
    }

    /// Marks a notification of a user as read. Repeating it keeps the first time. `None` if there is no such
    /// notification.
    pub async fn mark_read(&self, user_id: i32, id: Uuid, now: DateTime<Utc>) -> Result<Option<Notification>> {
        let store = self.clone();
        bounded(TRANSACTION_TIMEOUT, async move {
            let marking = transaction(&store.sessions, RETRY_TIMEOUT, &store, move |session, store| {
                store.mark_read_in(session, user_id, id, now).boxed()
            });
            Ok(marking.await?)
        })
        .await
    }

    async fn mark_read_in(
        &self,
        session: &mut ClientSession,
        user_id: i32,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> WorkResult<Option<Notification>> {
        let any = doc! { "_id": id.to_string(), "user_id": user_id };
        let unread = doc! { "_id": id.to_string(), "user_id": user_id, "read_at": null };
        if self.notifications.update_one(unread, set_read_at(now)).session(&mut *session).await?.modified_count == 1 {
            let decrement = doc! { "$inc": { "unread": -1_i64 } };
            self.counters.update_one(doc! { "_id": user_id }, decrement).session(&mut *session).await?;
        }
        Ok(self.notifications.find_one(any).session(session).await?.map(Notification::from))
    }

    /// Marks the notifications of a user up to sequence number `up_to` (all if absent) as read. Returns how many are
    /// still unread.
    pub async fn mark_all_read(&self, user_id: i32, up_to: Option<i64>, now: DateTime<Utc>) -> Result<i64> {
        let store = self.clone();
        bounded(TRANSACTION_TIMEOUT, async move {
            let marking = transaction(&store.sessions, RETRY_TIMEOUT, &store, move |session, store| {
                store.mark_all_read_in(session, user_id, up_to, now).boxed()
            });
            Ok(marking.await?)
        })
        .await
    }

    async fn mark_all_read_in(
        &self,
        session: &mut ClientSession,
        user_id: i32,
        up_to: Option<i64>,
        now: DateTime<Utc>,
    ) -> WorkResult<i64> {
        let mut unread = doc! { "user_id": user_id, "read_at": null };
        if let Some(up_to) = up_to {
            unread.insert("seq", doc! { "$lte": up_to });
        }
        let updated = self.notifications.update_many(unread, set_read_at(now)).session(&mut *session).await?;
        if updated.modified_count > 0 {
            let decrement = doc! { "$inc": { "unread": -i64::try_from(updated.modified_count).unwrap_or(i64::MAX) } };
            self.counters.update_one(doc! { "_id": user_id }, decrement).session(&mut *session).await?;
        }
        let record = self.counters.find_one(doc! { "_id": user_id }).session(session).await?;
        Ok(record.map(Counters::from).unwrap_or_default().unread)
    }

    /// Follows the notifications that any replica inserts from now on.
    pub async fn watch_inserts(&self) -> Result<ChangeStream<InsertEvent>> {
        let inserts = [
            doc! { "$match": { "operationType": "insert" } },
            doc! { "$project": { "fullDocument.user_id": 1, "fullDocument.seq": 1 } },
        ];
        let changes: ChangeStream<ChangeStreamEvent<NotificationRecord>> =
            self.notifications.watch().pipeline(inserts).max_await_time(WATCH_TIMEOUT).await?;
        Ok(changes.with_type())
    }
}

fn set_read_at(now: DateTime<Utc>) -> Document {
    doc! { "$set": { "read_at": BsonDateTime::from_chrono(now) } }
}

/// Runs one query in a task of its own. Without the time limit, a server that stops responding would block it for ever.
async fn query<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    bounded(QUERY_TIMEOUT, work).await
}
