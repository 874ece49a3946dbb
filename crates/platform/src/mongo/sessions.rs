//! The sessions that transactions run in, written down so that nobody waits long for a process that died.
//!
//! A process that is killed between the writes of a transaction and its commit leaves the transaction open, and with it
//! a lock on what it wrote; the server gives up on it only after a minute (`transactionLifetimeLimitSeconds`). So every
//! replica keeps a document in `replicas` with its sessions and a time that it renews; when the time is old, any other
//! replica ends those sessions, which aborts what they left open. The same is done for transactions of this replica
//! whose connection fell silent. Ending a session that is alive after all does no harm: its work is tried again.
//!
//! A service runs its transactions in [`Sessions`], calls [`Sessions::start_presence`], for the others wait for what
//! it ends, and creates the index of `replicas` by [`create_indexes`] when it migrates.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bson::{DateTime as BsonDateTime, Document, doc};
use futures::TryStreamExt;
use mongodb::{
    ClientSession, Database, IndexModel,
    error::Result,
    options::{IndexOptions, ReadConcern},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{bounded, server_time};
use crate::{
    Lifecycle,
    task::{Progress, supervise_until_drained},
};

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
    /// Nobody runs a transaction in these.
    idle: Mutex<Vec<ClientSession>>,
    /// Kept until they are ended: the driver would give one that it got back to the next that asks.
    abandoned: Mutex<Vec<ClientSession>>,
    known: Mutex<Vec<Known>>,
}

struct Known {
    id: Document,
    state: Use,
}

#[derive(Clone, Copy)]
enum Use {
    /// The others may not know of it yet.
    New,
    Idle,
    Running(Instant),
    /// Its transaction may still be open on the server.
    Abandoned,
}

impl Sessions {
    /// For transactions in that database; none yet.
    pub fn new(database: Database) -> Self {
        let (idle, abandoned, known) = (Mutex::default(), Mutex::default(), Mutex::default());
        let permits = Semaphore::new(TRANSACTIONS_MAX);
        Self { database, inner: Arc::new(Inner { replica: Uuid::new_v4(), permits, idle, abandoned, known }) }
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
                lock(&self.inner.known).push(Known { id: session.id().clone(), state: Use::New });
                session
            }
        };
        let is_new = |known: &Known| known.id == *session.id() && matches!(known.state, Use::New);
        if !self.those(is_new).is_empty()
            && let Err(error) = self.announce().await
        {
            lock(&self.inner.idle).push(session);
            return Err(error);
        }
        self.mark(session.id(), Use::Running(Instant::now()));
        Ok(session)
    }

    /// Takes a session back whose transaction has ended.
    pub fn give_back(&self, session: ClientSession) {
        self.mark(session.id(), Use::Idle);
        lock(&self.inner.idle).push(session);
    }

    /// Takes a session back whose transaction may still be open.
    pub fn abandon(&self, session: ClientSession) {
        self.mark(session.id(), Use::Abandoned);
        lock(&self.inner.abandoned).push(session);
    }

    /// Starts to tell the other replicas every second or two that this one is alive, and to end the sessions of dead
    /// ones. It continues until the process has drained, because requests and loops run transactions until then.
    pub fn start_presence(&self, lifecycle: &Lifecycle) {
        let (sessions, stop) = (self.clone(), lifecycle.drained());
        let start = move |progress| sessions.clone().keep_present(stop.clone(), progress);
        supervise_until_drained(lifecycle, "presence", start);
    }

    async fn keep_present(self, stop: CancellationToken, progress: Progress) {
        while !stop.is_cancelled() {
            let sessions = self.clone();
            let renewed = bounded(PRESENCE_TIMEOUT, async move {
                sessions.announce().await?;
                sessions.end_lost().await?;
                sessions.end_those_of_the_dead().await
            });
            match renewed.await {
                Ok(()) => progress.succeeded(),
                Err(error) => progress.failed(&error.into()),
            }
            let pause = PAUSE.mul_f64(1.0 + rand::random::<f64>());
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
    }

    fn mark(&self, id: &Document, state: Use) {
        if let Some(known) = lock(&self.inner.known).iter_mut().find(|known| known.id == *id) {
            known.state = state;
        }
    }

    /// Such sessions.
    fn those(&self, are: impl Fn(&Known) -> bool) -> Vec<Document> {
        lock(&self.inner.known).iter().filter(|known| are(known)).map(|known| known.id.clone()).collect()
    }

    /// Tells the other replicas that this one is alive, and its sessions. One without sessions has nothing to tell.
    ///
    /// Adds to what was told: several may tell at once, and the server may hear the one that knows least last.
    async fn announce(&self) -> Result<()> {
        let sessions = self.those(|_| true);
        if sessions.is_empty() {
            return Ok(());
        }
        let me = doc! { "_id": self.inner.replica.to_string() };
        let alive = doc! { "$addToSet": { "sessions": { "$each": sessions } }, "$currentDate": { "seen_at": true } };
        self.database.collection::<Document>(REPLICAS).update_one(me, alive).upsert(true).await.map(drop)
    }

    /// Ends what this replica gave up or lost. What it gave up may be taken again.
    async fn end_lost(&self) -> Result<()> {
        let lost = self.those(|known| match known.state {
            Use::New | Use::Idle => false,
            Use::Running(since) => since.elapsed() > TRANSACTION_MAX,
            Use::Abandoned => true,
        });
        kill(&self.database, &lost).await?;
        let ended: Vec<_> = lock(&self.inner.abandoned).extract_if(.., |session| lost.contains(session.id())).collect();
        for session in ended {
            self.give_back(session);
        }
        Ok(())
    }

    async fn end_those_of_the_dead(&self) -> Result<()> {
        let replicas = self.database.collection::<ReplicaRecord>(REPLICAS);
        let silent_since = BsonDateTime::from(server_time(&self.database).await? - SILENCE);
        let silent = doc! { "seen_at": { "$lt": silent_since } };
        // Not what a majority had a moment ago: its times would be older than they are.
        let find = replicas.find(silent).read_concern(ReadConcern::local());
        let dead: Vec<ReplicaRecord> = find.await?.try_collect().await?;
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
