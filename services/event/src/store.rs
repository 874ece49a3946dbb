//! Every query. Collections `events` (with counters), `reservations` (the ledger), `untold_changes`, `outbox`
//! and `replicas`.
//!
//! Counters and ledger change together, in the transactions of [`batch`]; everything here that is public may be
//! dropped by its caller, for the driver's futures run in tasks of their own.

mod batch;
mod changes;
mod events;
mod ledger;
mod outbox;
mod record;
mod schema;

use std::{future::Future, time::Duration};

use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, error::Result};
use platform::{
    Lifecycle,
    mongo::{bounded, sessions::Sessions},
};

pub use self::{
    batch::BatchFailure,
    ledger::{Difference, LedgerPage},
};
use self::{
    changes::ChangeRecord,
    outbox::OutboxRecord,
    record::{EventRecord, ReservationRecord},
};

/// The longest wait for a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(8);

/// The database of event-service. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    events: Collection<EventRecord>,
    reservations: Collection<ReservationRecord>,
    outbox: Collection<OutboxRecord>,
    untold_changes: Collection<ChangeRecord>,
    sessions: Sessions,
}

impl Store {
    /// Over that database.
    pub fn new(database: Database) -> Self {
        Self {
            events: database.collection("events"),
            reservations: database.collection("reservations"),
            outbox: database.collection("outbox"),
            untold_changes: database.collection("untold_changes"),
            sessions: Sessions::new(database.clone()),
            database,
        }
    }

    /// The database itself.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Creates or updates collections, validators and indexes. Safe to repeat.
    pub async fn migrate(&self) -> Result<()> {
        schema::migrate(&self.database).await
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> std::result::Result<(), String> {
        platform::mongo::ping(&self.database).await
    }

    /// The database's time: replicas may have clocks of their own, expiry has but one.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        let store = self.clone();
        query(async move { store.server_time().await }).await
    }

    async fn server_time(&self) -> Result<DateTime<Utc>> {
        platform::mongo::server_time(&self.database).await
    }

    /// Starts to tell the other replicas that this one is alive, and to end transactions that dead ones left open.
    pub fn start_heartbeat(&self, lifecycle: &Lifecycle) {
        self.sessions.start_heartbeat(lifecycle);
    }
}

/// [`bounded`] for one query.
async fn query<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    bounded(QUERY_TIMEOUT, work).await
}
