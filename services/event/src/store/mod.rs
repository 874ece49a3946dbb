//! Every query. Collections `events` (with counters), `reservations` (the ledger), `untold_changes` (pending
//! notifications), `deleted_accounts`, `outbox` and `replicas`.
//!
//! Counters and ledger change together, in the transactions of [`batch`]. The futures of all other public functions may
//! be dropped: they run the driver's futures in tasks of their own.

mod batch;
mod deletions;
mod events;
mod ledger;
mod notifications;
mod outbox;
mod record;
mod schema;

use std::{future::Future, time::Duration};

use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, error::Result};
use platform::mongo::{self, bounded, sessions::Sessions};

pub use self::{
    deletions::{AccountDeletion, OpenEvent},
    ledger::{LedgerMismatch, LedgerPage},
};
use self::{
    notifications::NotificationRecord,
    outbox::OutboxRecord,
    record::{EventRecord, ReservationRecord},
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

    /// The database's time. Replicas may have different clocks, so holds expire by this one.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        let store = self.clone();
        query(async move { store.server_time().await }).await
    }

    async fn server_time(&self) -> Result<DateTime<Utc>> {
        mongo::server_time(&self.database).await
    }
}

/// [`bounded`] with [`QUERY_TIMEOUT`].
async fn query<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    bounded(QUERY_TIMEOUT, work).await
}
