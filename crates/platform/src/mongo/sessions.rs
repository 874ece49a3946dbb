//! The sessions that transactions run in, written down so that nobody waits long for a process that died.
//!
//! A process that is killed between the writes of a transaction and its commit leaves the transaction open, and with it
//! a lock on what it wrote; the server gives up on it only after a minute (`transactionLifetimeLimitSeconds`). So every
//! replica keeps a document in `replicas` with its sessions and a time that it renews; when the time is old, any other
//! replica ends those sessions, which aborts what they left open. The same is done for transactions of this replica
//! whose connection fell silent. Ending a session that is alive after all does no harm: its work is tried again.
//!
//! A service runs its transactions in [`Sessions`], spawns [`Sessions::keep_present`] as a task of its own, for the others
//! wait for what it ends, and creates the index of `replicas` by [`create_indexes`] when it migrates.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bson::{DateTime as BsonDateTime, Document, doc};
use futures::TryStreamExt;
use mongodb::{ClientSession, Database, IndexModel, error::Result, options::IndexOptions};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{bounded, server_time};

/// The collection of those who live, or lived until lately.
const REPLICAS: &str = "replicas";

/// Transactions of one replica at the same time; fewer than the connections that it may have.
const TRANSACTIONS_MAX: usize = 24;
/// A replica that was not heard of for this long is taken for dead: what it had locked is locked for so long.
const SILENCE: Duration = Duration::from_secs(5);
/// A transaction that takes this long is taken for lost.
const TRANSACTION_MAX: Duration = Duration::from_secs(15);
/// The longest wait for the server while presence is renewed.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(4);
/// The least pause between renewals; up to twice as long, so that replicas do not move in step.
const PAUSE: Duration = Duration::from_secs(1);
/// A replica that nobody heard of for this long has no transaction open any more.
const REPLICAS_KEPT: Duration = Duration::from_secs(3_600);

/// A document of `replicas`.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct ReplicaRecord {
    #[serde(rename = "_id")]
    id: String,
    sessions: Vec<Document>,
    seen_at: BsonDateTime,
}

/// The sessions of this replica's transactions in one database. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    database: Database,
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
    /// For transactions in that database; none yet.
    pub fn new(database: Database) -> Self {
        let (idle, known) = (Mutex::default(), Mutex::default());
        let permits = Semaphore::new(TRANSACTIONS_MAX);
        Self { database, inner: Arc::new(Inner { replica: Uuid::new_v4(), permits, idle, known }) }
    }

    /// Waits for one's turn to run a transaction.
    pub async fn turn(&self) -> SemaphorePermit<'_> {
        self.inner.permits.acquire().await.expect("the semaphore is never closed")
    }

    /// A session for one transaction, known to the other replicas. Must not be dropped midway.
    ///
    /// Whoever takes it ends with [`Sessions::give_back`] or [`Sessions::abandon`].
    pub async fn take(&self) -> Result<ClientSession> {
        let idle = lock(&self.inner.idle).pop();
        let session = match idle {
            Some(session) => session,
            None => {
                let session = self.database.client().start_session().await?;
                lock(&self.inner.known).push(Known { id: session.id().clone(), state: Use::Idle });
                self.announce().await?;
                session
            }
        };
        self.mark(&session, Use::Running(Instant::now()));
        Ok(session)
    }

    /// Takes a session back whose transaction has ended.
    pub fn give_back(&self, session: ClientSession) {
        self.mark(&session, Use::Idle);
        lock(&self.inner.idle).push(session);
    }

    /// Gives a session up whose transaction may still be open.
    pub fn abandon(&self, session: &ClientSession) {
        self.mark(session, Use::Abandoned);
    }

    /// Tells the other replicas every second or two that this one is alive, and ends the sessions of those that are not,
    /// until `stop`.
    pub async fn keep_present(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let sessions = self.clone();
            let renewed = bounded(PRESENCE_TIMEOUT, async move {
                sessions.end_lost().await?;
                sessions.announce().await?;
                sessions.end_those_of_the_dead().await
            });
            if let Err(error) = renewed.await {
                tracing::debug!(%error, "presence not renewed");
            }
            let pause = PAUSE.mul_f64(1.0 + rand::random::<f64>());
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
    }

    fn mark(&self, session: &ClientSession, state: Use) {
        if let Some(known) = lock(&self.inner.known).iter_mut().find(|known| &known.id == session.id()) {
            known.state = state;
        }
    }

    /// Tells the other replicas that this one is alive, and its sessions. One without sessions has nothing to tell.
    ///
    /// Adds to what was told: several may tell at once, and the server may hear the one that knows least last.
    async fn announce(&self) -> Result<()> {
        let sessions = self.those(|_| true);
        if sessions.is_empty() {
            return Ok(());
        }
        let alive = doc! { "$addToSet": { "sessions": { "$each": sessions } }, "$currentDate": { "seen_at": true } };
        self.database.collection::<Document>(REPLICAS).update_one(self.me(), alive).upsert(true).await.map(drop)
    }

    fn me(&self) -> Document {
        doc! { "_id": self.inner.replica.to_string() }
    }

    /// Ends what this replica gave up or lost.
    async fn end_lost(&self) -> Result<()> {
        let lost = self.those(|state| matches!(state, Use::Running(since) if since.elapsed() > TRANSACTION_MAX));
        kill(&self.database, &lost).await?;
        let abandoned = self.those(|state| matches!(state, Use::Abandoned));
        if abandoned.is_empty() {
            return Ok(());
        }
        kill(&self.database, &abandoned).await?;
        lock(&self.inner.known).retain(|known| !abandoned.contains(&known.id));
        let forgotten = doc! { "$pullAll": { "sessions": abandoned } };
        self.database.collection::<Document>(REPLICAS).update_one(self.me(), forgotten).await.map(drop)
    }

    /// The sessions in such a state.
    fn those(&self, is: impl Fn(Use) -> bool) -> Vec<Document> {
        lock(&self.inner.known).iter().filter(|known| is(known.state)).map(|known| known.id.clone()).collect()
    }

    async fn end_those_of_the_dead(&self) -> Result<()> {
        let replicas = self.database.collection::<ReplicaRecord>(REPLICAS);
        let silent_since = BsonDateTime::from(server_time(&self.database).await? - SILENCE);
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

/// Creates the index by which `replicas` forgets those that died long ago. Safe to repeat.
pub async fn create_indexes(database: &Database) -> Result<()> {
    let forgotten = IndexOptions::builder().name("seen_at".to_owned()).expire_after(REPLICAS_KEPT).build();
    let seen_at = IndexModel::builder().keys(doc! { "seen_at": 1 }).options(forgotten).build();
    database.collection::<Document>(REPLICAS).create_index(seen_at).await.map(drop)
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
