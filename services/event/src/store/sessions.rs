//! The sessions that transactions run in, written down so that nobody waits long for a process that died.
//!
//! A process that is killed between the writes of a transaction and its commit leaves the transaction open, and with it
//! a lock on the event; the server gives up on it only after a minute (`transactionLifetimeLimitSeconds`). So every
//! replica keeps a document in `replicas` with its sessions and a time that it renews; when the time is old, any other
//! replica ends those sessions, which aborts what they left open. The same is done for transactions of this replica
//! whose connection fell silent. Ending a session that is alive after all does no harm: its batch is tried again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bson::{DateTime as BsonDateTime, Document, doc};
use futures::TryStreamExt;
use mongodb::{ClientSession, Database, error::Result};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use uuid::Uuid;

use super::{Store, query};

/// Transactions of one replica at the same time; fewer than the connections that it may have.
const TRANSACTIONS_MAX: usize = 24;
/// A replica that was not heard of for this long is taken for dead.
const SILENCE: Duration = Duration::from_secs(8);
/// A transaction that takes this long is taken for lost.
const TRANSACTION_MAX: Duration = Duration::from_secs(15);

/// A document of `replicas`.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct ReplicaRecord {
    #[serde(rename = "_id")]
    id: String,
    sessions: Vec<Document>,
    seen_at: BsonDateTime,
}

/// The sessions of this replica's transactions. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    replica: Uuid,
    permits: Semaphore,
    idle: Mutex<Vec<ClientSession>>,
    known: Mutex<Vec<Known>>,
}

struct Known {
    id: Document,
    state: Use,
}

#[derive(Clone, Copy)]
enum Use {
    Idle,
    Running(Instant),
    /// Its transaction may still be open on the server.
    Abandoned,
}

impl Sessions {
    pub(super) fn new() -> Self {
        let (idle, known) = (Mutex::default(), Mutex::default());
        let permits = Semaphore::new(TRANSACTIONS_MAX);
        Self { inner: Arc::new(Inner { replica: Uuid::new_v4(), permits, idle, known }) }
    }

    /// Waits for one's turn to run a transaction.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.inner.permits.acquire().await.expect("the semaphore is never closed")
    }

    /// A session for one transaction, known to the other replicas.
    pub(super) async fn take(&self, database: &Database) -> Result<ClientSession> {
        let idle = lock(&self.inner.idle).pop();
        let session = match idle {
            Some(session) => session,
            None => {
                let session = database.client().start_session().await?;
                lock(&self.inner.known).push(Known { id: session.id().clone(), state: Use::Idle });
                self.announce(database).await?;
                session
            }
        };
        self.mark(&session, Use::Running(Instant::now()));
        Ok(session)
    }

    /// Takes a session back whose transaction has ended.
    pub(super) fn give_back(&self, session: ClientSession) {
        self.mark(&session, Use::Idle);
        lock(&self.inner.idle).push(session);
    }

    /// Gives a session up whose transaction may still be open.
    pub(super) fn abandon(&self, session: &ClientSession) {
        self.mark(session, Use::Abandoned);
    }

    fn mark(&self, session: &ClientSession, state: Use) {
        if let Some(known) = lock(&self.inner.known).iter_mut().find(|known| &known.id == session.id()) {
            known.state = state;
        }
    }

    /// Tells the other replicas that this one is alive, and its sessions. One without sessions has nothing to tell.
    async fn announce(&self, database: &Database) -> Result<()> {
        let sessions: Vec<_> = lock(&self.inner.known).iter().map(|known| known.id.clone()).collect();
        if sessions.is_empty() {
            return Ok(());
        }
        let me = doc! { "_id": self.inner.replica.to_string() };
        let alive = doc! { "$set": { "sessions": sessions }, "$currentDate": { "seen_at": true } };
        database.collection::<Document>("replicas").update_one(me, alive).upsert(true).await.map(drop)
    }

    /// Ends what this replica gave up or lost.
    async fn end_lost(&self, database: &Database) -> Result<()> {
        let lost = |known: &Known| match known.state {
            Use::Idle => false,
            Use::Running(since) => since.elapsed() > TRANSACTION_MAX,
            Use::Abandoned => true,
        };
        let ids: Vec<_> = lock(&self.inner.known).iter().filter(|known| lost(known)).map(|k| k.id.clone()).collect();
        kill(database, &ids).await?;
        lock(&self.inner.known).retain(|known| !(matches!(known.state, Use::Abandoned) && ids.contains(&known.id)));
        Ok(())
    }
}

impl Store {
    /// Tells the other replicas that this one is alive, and ends the sessions of those that are not.
    pub async fn keep_presence(&self) -> Result<()> {
        let store = self.clone();
        query(async move {
            store.sessions.end_lost(&store.database).await?;
            store.sessions.announce(&store.database).await?;
            store.end_sessions_of_the_dead().await
        })
        .await
    }

    async fn end_sessions_of_the_dead(&self) -> Result<()> {
        let replicas = self.database.collection::<ReplicaRecord>("replicas");
        let silent_since = BsonDateTime::from(self.server_time().await? - SILENCE);
        let silent = doc! { "seen_at": { "$lt": silent_since } };
        let dead: Vec<ReplicaRecord> = replicas.find(silent).await?.try_collect().await?;
        for replica in dead {
            kill(&self.database, &replica.sessions).await?;
            tracing::info!(replica = replica.id, sessions = replica.sessions.len(), "ended what a silent replica left");
            replicas.delete_one(doc! { "_id": replica.id, "seen_at": replica.seen_at }).await?;
        }
        Ok(())
    }
}

async fn kill(database: &Database, sessions: &[Document]) -> Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    let admin = database.client().database("admin");
    admin.run_command(doc! { "killSessions": sessions.to_vec() }).await.map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
