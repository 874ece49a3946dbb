//! Every query. Collections `events` (with counters), `reservations` (the ledger), `untold_changes` (pending
//! notifications), `deleted_accounts`, `outbox` and `replicas`.
//!
//! Counters and ledger change together, in the transactions of [`batch`]. The futures of all other public functions may
//! be dropped: they run the driver's futures in tasks of their own.

mod batch;
mod bulk;
mod deletions;
mod events;
mod ledger;
mod notifications;
mod outbox;
mod record;
mod schema;

use std::{future::Future, time::Duration};

use bson::{DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use mongodb::{Collection, Database, error::Result};
use platform::mongo::{self, bounded, sessions::Sessions};
use serde::Deserialize;

use self::{
    bulk::BulkWriter,
    notifications::NotificationRecord,
    outbox::OutboxRecord,
    record::{EventRecord, ReservationRecord},
};
pub use self::{
    deletions::{AccountDeletion, OpenEvent},
    ledger::{LedgerMismatch, LedgerPage},
};

const QUERY_TIMEOUT: Duration = Duration::from_secs(8);

/// The database of event-service. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    events: Collection<EventRecord>,
    reservations: Collection<ReservationRecord>,
    outbox: Collection<OutboxRecord>,
    notifications: Collection<NotificationRecord>,
    deletions: Collection<AccountDeletion>,
    sessions: Sessions,
    bulk: BulkWriter,
}

impl Store {
    pub fn new(database: Database) -> Self {
        Self {
            events: database.collection("events"),
            reservations: database.collection("reservations"),
            outbox: database.collection("outbox"),
            notifications: database.collection("untold_changes"),
            deletions: database.collection("deleted_accounts"),
            sessions: Sessions::new(database.clone()),
            bulk: BulkWriter::new(database.clone()),
            database,
        }
    }

    /// The same for a server without the command `bulkWrite`, such as MongoDB 7.
    #[must_use]
    pub fn without_bulk_writes(self) -> Self {
        Self { bulk: BulkWriter::one_by_one(self.database.clone()), ..self }
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

    /// The database's time. Replicas may have different clocks, so holds expire by this one.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        let store = self.clone();
        query(async move { store.server_time().await }).await
    }

    async fn server_time(&self) -> Result<DateTime<Utc>> {
        mongo::server_time(&self.database).await
    }
}

/// A due time with the database's time.
#[derive(Deserialize)]
struct Due {
    at: BsonDateTime,
    now: BsonDateTime,
}

/// The time until the earliest date in `field` of the documents that match; zero if it is past. `None` if there is none.
async fn until_earliest<T: Send + Sync + 'static>(
    documents: &Collection<T>,
    conditions: Document,
    field: &str,
) -> Result<Option<Duration>> {
    let documents = documents.clone();
    let pipeline = [
        doc! { "$match": conditions },
        doc! { "$sort": { field: 1 } },
        doc! { "$limit": 1 },
        doc! { "$project": { "at": format!("${field}"), "now": "$$NOW" } },
    ];
    let earliest: Option<Due> =
        query(async move { documents.aggregate(pipeline).with_type::<Due>().await?.try_next().await }).await?;
    Ok(earliest.map(|due| (due.at.to_chrono() - due.now.to_chrono()).to_std().unwrap_or_default()))
}

/// [`bounded`] with [`QUERY_TIMEOUT`].
async fn query<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    bounded(QUERY_TIMEOUT, work).await
}
