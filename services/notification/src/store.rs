//! Every query. Collection `notifications` holds them, `counters` where each user's notifications stand and whether
//! the account is deleted, `replicas` the sessions of those at work.
//!
//! A notification gets its place (`seq`) and is inserted in one transaction, which serializes the inserts of one user:
//! whoever has read up to N and asks for more than N misses nothing.

mod deletion;
mod row;
mod schema;
mod transaction;

use std::{future::Future, time::Duration};

use bson::{DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use mongodb::{
    ClientSession, Collection, Database,
    change_stream::{ChangeStream, event::ChangeStreamEvent},
    error::Result,
    options::ReturnDocument,
};
use platform::{
    Lifecycle,
    mongo::{bounded, sessions::Sessions},
};
use uuid::Uuid;

pub use self::row::Arrival;
use self::{
    row::{CounterRow, NotificationRow},
    transaction::Attempts,
};
use crate::domain::{Counters, Insertion, NewNotification, Notification};

/// The longest wait for a query: shorter than a request may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(8);

/// The database of notification-service. Cheap to clone.
///
/// The driver's futures must not be dropped midway. Reads run in tasks of their own; writers that may be
/// dropped midway use a task of their own too.
#[derive(Clone)]
pub struct Store {
    database: Database,
    notifications: Collection<NotificationRow>,
    counters: Collection<CounterRow>,
    sessions: Sessions,
}

impl Store {
    /// Over that database.
    pub fn new(database: Database) -> Self {
        Self {
            notifications: database.collection("notifications"),
            counters: database.collection("counters"),
            sessions: Sessions::new(database.clone()),
            database,
        }
    }

    /// Creates or updates collections, validators and indexes. Safe to repeat.
    pub async fn migrate(&self) -> Result<()> {
        schema::migrate(&self.database).await
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> std::result::Result<(), String> {
        platform::mongo::ping(&self.database).await
    }

    /// Starts to tell the other replicas that this one is alive, and to end transactions that dead ones left open.
    pub fn start_heartbeat(&self, lifecycle: &Lifecycle) {
        self.sessions.start_heartbeat(lifecycle);
    }

    /// Stores a notification, unless it was stored before or the account is deleted.
    pub async fn insert_notification(&self, new: &NewNotification) -> Result<Insertion> {
        let mut attempts = Attempts::new(&self.sessions);
        loop {
            let mut turn = attempts.begin().await?;
            let worked = self.insert_in(&mut turn.session, new).await;
            if let Some(outcome) = attempts.finish(turn, worked).await {
                platform::failpoint!("notification.store.committed");
                return outcome;
            }
        }
    }

    async fn insert_in(&self, session: &mut ClientSession, new: &NewNotification) -> Result<Insertion> {
        let known = self.notifications.find_one(doc! { "_id": new.id.to_string() }).session(&mut *session).await?;
        let once_more = known.is_some() && platform::guard_removed!("notification.once");
        if known.is_some() && !once_more {
            return Ok(Insertion::Known);
        }
        // A deletion that commits after this read conflicts with the `$inc` below.
        if self.is_deleted(session, new.user_id).await? {
            return Ok(Insertion::AccountDeleted);
        }
        let next = doc! { "$inc": { "last_seq": 1_i64, "unread": 1_i64 } };
        let counters = self
            .counters
            .find_one_and_update(doc! { "_id": new.user_id }, next)
            .upsert(true)
            .return_document(ReturnDocument::After)
            .session(&mut *session)
            .await?
            .map(Counters::from)
            .unwrap_or_default();
        platform::failpoint!("notification.store.counted");
        let mut row = NotificationRow::new(new, counters.last_seq);
        if once_more {
            // The database would refuse the same id: a second guard behind the first.
            row.id = Uuid::new_v4().to_string();
        }
        self.notifications.insert_one(row).session(session).await?;
        platform::failpoint!("notification.store.inserted");
        Ok(Insertion::Stored(counters.last_seq))
    }

    /// Up to `limit` notifications of a user, newest first, before place `before`.
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
            filter.insert("read_at", bson::Bson::Null);
        }
        self.find(filter, doc! { "seq": -1 }, limit).await
    }

    /// Up to `limit` notifications of a user, oldest first, after place `after`.
    pub async fn list_notifications_after(&self, user_id: i32, after: i64, limit: u32) -> Result<Vec<Notification>> {
        self.find(doc! { "user_id": user_id, "seq": { "$gt": after } }, doc! { "seq": 1 }, limit).await
    }

    async fn find(&self, filter: Document, sort: Document, limit: u32) -> Result<Vec<Notification>> {
        let notifications = self.notifications.clone();
        query(async move {
            let rows = notifications.find(filter).sort(sort).limit(i64::from(limit)).await?;
            rows.map_ok(Notification::from).try_collect().await
        })
        .await
    }

    /// Where a user's notifications stand.
    pub async fn find_counters(&self, user_id: i32) -> Result<Counters> {
        let counters = self.counters.clone();
        let row = query(async move { counters.find_one(doc! { "_id": user_id }).await }).await?;
        Ok(row.map(Counters::from).unwrap_or_default())
    }

    /// Marks a user's notification as read, once; `None` if the user has no such notification.
    pub async fn mark_read(&self, user_id: i32, id: Uuid, now: DateTime<Utc>) -> Result<Option<Notification>> {
        let mut attempts = Attempts::new(&self.sessions);
        loop {
            let mut turn = attempts.begin().await?;
            let worked = self.mark_read_in(&mut turn.session, user_id, id, now).await;
            if let Some(outcome) = attempts.finish(turn, worked).await {
                return outcome;
            }
        }
    }

    async fn mark_read_in(
        &self,
        session: &mut ClientSession,
        user_id: i32,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<Notification>> {
        let theirs = doc! { "_id": id.to_string(), "user_id": user_id };
        let unread = doc! { "_id": id.to_string(), "user_id": user_id, "read_at": null };
        let read = doc! { "$set": { "read_at": BsonDateTime::from_chrono(now) } };
        if self.notifications.update_one(unread, read).session(&mut *session).await?.modified_count == 1 {
            let fewer = doc! { "$inc": { "unread": -1_i64 } };
            self.counters.update_one(doc! { "_id": user_id }, fewer).session(&mut *session).await?;
        }
        Ok(self.notifications.find_one(theirs).session(session).await?.map(Notification::from))
    }

    /// Marks a user's notifications up to place `up_to` (all, if absent) as read; gives how many are still unread.
    pub async fn mark_all_read(&self, user_id: i32, up_to: Option<i64>, now: DateTime<Utc>) -> Result<i64> {
        let mut attempts = Attempts::new(&self.sessions);
        loop {
            let mut turn = attempts.begin().await?;
            let worked = self.mark_all_read_in(&mut turn.session, user_id, up_to, now).await;
            if let Some(outcome) = attempts.finish(turn, worked).await {
                return outcome;
            }
        }
    }

    async fn mark_all_read_in(
        &self,
        session: &mut ClientSession,
        user_id: i32,
        up_to: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<i64> {
        let mut unread = doc! { "user_id": user_id, "read_at": null };
        if let Some(up_to) = up_to {
            unread.insert("seq", doc! { "$lte": up_to });
        }
        let read = doc! { "$set": { "read_at": BsonDateTime::from_chrono(now) } };
        let marked = self.notifications.update_many(unread, read).session(&mut *session).await?.modified_count;
        if marked > 0 {
            let fewer = doc! { "$inc": { "unread": -i64::try_from(marked).unwrap_or(i64::MAX) } };
            self.counters.update_one(doc! { "_id": user_id }, fewer).session(&mut *session).await?;
        }
        let row = self.counters.find_one(doc! { "_id": user_id }).session(session).await?;
        Ok(row.map(Counters::from).unwrap_or_default().unread)
    }

    /// Follows the insertions from now on, whichever replica makes them.
    pub async fn watch_arrivals(&self) -> Result<ChangeStream<Arrival>> {
        let arrivals = [
            doc! { "$match": { "operationType": "insert" } },
            doc! { "$project": { "fullDocument.user_id": 1, "fullDocument.seq": 1 } },
        ];
        let changes: ChangeStream<ChangeStreamEvent<NotificationRow>> =
            self.notifications.watch().pipeline(arrivals).await?;
        Ok(changes.with_type())
    }
}

/// [`bounded`] for one query, because a silent server would never answer it.
async fn query<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    bounded(QUERY_TIMEOUT, work).await
}
