//! The sessions that transactions run in, recorded so that the locks of a dead process are released soon.
//!
//! A process that is killed between the writes of a transaction and its commit leaves the transaction open, and with it
//! a lock on what it wrote; the server aborts it only after a minute (`transactionLifetimeLimitSeconds`). So every
//! replica keeps a document in `replicas` with its sessions and a heartbeat. When the heartbeat is old, any other replica
//! kills those sessions, which aborts their transactions. The same is done for transactions of this replica whose
//! connection stopped answering. Killing a session that is still in use does no harm: its transaction is retried.
//!
//! The heartbeat rests while no transaction runs or ran lately: nothing is locked then. The document expires, and the
//! next transaction announces its session again before it begins.
//!
//! A service runs its transactions in [`Sessions`], calls [`Sessions::start_heartbeat`], because the other replicas wait
//! for what it kills, and creates the index of `replicas` by [`create_indexes`] when it migrates.

use std::{
    collections::VecDeque,
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
use serde::Deserialize;
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::bounded;
use crate::{
    Lifecycle,
    task::{Progress, supervise_until_drained},
};

/// The collection of the replicas that run, or ran until recently.
const REPLICAS: &str = "replicas";

/// The most concurrent transactions of one replica; fewer than its connections.
const MAX_TRANSACTIONS: usize = 24;
/// A replica without a heartbeat for this long counts as dead; its locks are held until then.
const HEARTBEAT_EXPIRY: Duration = Duration::from_secs(5);
/// A transaction that takes longer counts as lost.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest wait for the server in one heartbeat.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(4);
/// The shortest pause between heartbeats; up to twice as long, so that replicas do not run in step.
const HEARTBEAT_PAUSE: Duration = Duration::from_secs(1);
/// How often a heartbeat that rests reports that it is well.
const REST: Duration = Duration::from_secs(60);
/// A replica without a heartbeat for this long has no open transaction left.
const REPLICA_RETENTION: Duration = Duration::from_secs(3_600);

/// A document of `replicas`.
#[derive(Debug, Deserialize)]
struct ReplicaRecord {
    #[serde(rename = "_id")]
    id: String,
    sessions: Vec<Document>,
    seen_at: BsonDateTime,
    /// The server's time when this was read.
    now: BsonDateTime,
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
    /// No transaction runs in these. Each is used in its turn, so that none goes unused until the server forgets it.
    idle: Mutex<VecDeque<ClientSession>>,
    /// Kept until they are killed: the driver would hand a returned session to the next caller.
    abandoned: Mutex<Vec<ClientSession>>,
    known: Mutex<Vec<Known>>,
    /// Wakes a heartbeat that rests.
    used: Notify,
}

struct Known {
    id: Document,
    state: SessionState,
}

#[derive(Clone, Copy)]
enum SessionState {
    /// Not announced to the other replicas, or not since the heartbeat rested.
    New,
    Idle(Instant),
    Running(Instant),
    /// Its transaction may still be open on the server.
    Abandoned,
}

impl Sessions {
    /// Sessions for transactions in that database.
    pub fn new(database: Database) -> Self {
        let (idle, abandoned, known) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (permits, used) = (Semaphore::new(MAX_TRANSACTIONS), Notify::new());
        Self { database, inner: Arc::new(Inner { replica: Uuid::new_v4(), permits, idle, abandoned, known, used }) }
    }

    /// Waits for a permit to run a transaction: there are 24 per replica.
    pub async fn permit(&self) -> SemaphorePermit<'_> {
        self.inner.permits.acquire().await.expect("the semaphore is never closed")
    }

    /// A session for one transaction, known to the other replicas. Must not be dropped midway.
    ///
    /// The caller returns it by [`Sessions::release`] or [`Sessions::abandon`].
    pub async fn acquire(&self) -> Result<ClientSession> {
        let idle = lock(&self.inner.idle).pop_front();
        let session = match idle {
            Some(session) => session,
            None => {
                let session = self.database.client().start_session().await?;
                lock(&self.inner.known).push(Known { id: session.id().clone(), state: SessionState::New });
                session
            }
        };
        if !self.start_announced(session.id()) {
            if let Err(error) = self.announce().await {
                lock(&self.inner.idle).push_back(session);
                return Err(error);
            }
            self.mark(session.id(), SessionState::Running(Instant::now()));
            self.inner.used.notify_one();
        }
        Ok(session)
    }

    /// Returns a session whose transaction has ended.
    pub fn release(&self, session: ClientSession) {
        self.mark(session.id(), SessionState::Idle(Instant::now()));
        lock(&self.inner.idle).push_back(session);
    }

    /// Returns a session whose transaction may still be open.
    pub fn abandon(&self, session: ClientSession) {
        self.mark(session.id(), SessionState::Abandoned);
        lock(&self.inner.abandoned).push(session);
    }

    /// Starts a heartbeat, every second or two while transactions run, which also kills the sessions of dead replicas.
    /// It continues until the process has drained, because requests and loops run transactions until then.
    pub fn start_heartbeat(&self, lifecycle: &Lifecycle) {
        let (sessions, stop) = (self.clone(), lifecycle.drained());
        let start = move |progress| sessions.clone().heartbeat(stop.clone(), progress);
        supervise_until_drained(lifecycle, "presence", start);
    }

    async fn heartbeat(self, stop: CancellationToken, progress: Progress) {
        while !stop.is_cancelled() {
            if self.rest() {
                progress.succeeded();
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.inner.used.notified() => {}
                    () = tokio::time::sleep(REST) => {}
                }
                continue;
            }
            let sessions = self.clone();
            let renewed = bounded(HEARTBEAT_TIMEOUT, async move {
                sessions.announce().await?;
                sessions.kill_lost().await?;
                sessions.reap_dead_replicas().await
            });
            match renewed.await {
                Ok(()) => progress.succeeded(),
                Err(error) => progress.failed(&error.into()),
            }
            let pause = HEARTBEAT_PAUSE.mul_f64(1.0 + rand::random::<f64>());
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
    }

    /// Whether no transaction runs or ran lately. The sessions must be announced again then.
    fn rest(&self) -> bool {
        let mut known = lock(&self.inner.known);
        let used = known.iter().any(|known| match known.state {
            SessionState::New => false,
            SessionState::Idle(since) => since.elapsed() <= HEARTBEAT_EXPIRY,
            SessionState::Running(_) | SessionState::Abandoned => true,
        });
        if !used {
            known.iter_mut().for_each(|known| known.state = SessionState::New);
        }
        !used
    }

    /// Marks a session as running, unless it has to be announced before.
    fn start_announced(&self, id: &Document) -> bool {
        let mut known = lock(&self.inner.known);
        let announced = known.iter_mut().find(|known| known.id == *id && !matches!(known.state, SessionState::New));
        announced.map(|known| known.state = SessionState::Running(Instant::now())).is_some()
    }

    fn mark(&self, id: &Document, state: SessionState) {
        if let Some(known) = lock(&self.inner.known).iter_mut().find(|known| known.id == *id) {
            known.state = state;
        }
    }

    /// The ids of the sessions that match.
    fn matching(&self, matches: impl Fn(&Known) -> bool) -> Vec<Document> {
        lock(&self.inner.known).iter().filter(|known| matches(known)).map(|known| known.id.clone()).collect()
    }

    /// Renews the heartbeat and records the sessions. A replica without sessions has nothing to record.
    ///
    /// It only adds sessions: calls run concurrently, and the one that knows the fewest sessions may be applied last.
    async fn announce(&self) -> Result<()> {
        let sessions = self.matching(|_| true);
        if sessions.is_empty() {
            return Ok(());
        }
        let me = doc! { "_id": self.inner.replica.to_string() };
        let alive = doc! { "$addToSet": { "sessions": { "$each": &sessions } }, "$currentDate": { "seen_at": true } };
        self.database.collection::<Document>(REPLICAS).update_one(me, alive).upsert(true).await?;
        for known in lock(&self.inner.known).iter_mut() {
            if matches!(known.state, SessionState::New) && sessions.contains(&known.id) {
                known.state = SessionState::Idle(Instant::now());
            }
        }
        Ok(())
    }

    /// Kills the sessions that this replica abandoned or lost. Abandoned ones may be used again afterwards.
    async fn kill_lost(&self) -> Result<()> {
        let lost = self.matching(|known| match known.state {
            SessionState::New | SessionState::Idle(_) => false,
            SessionState::Running(since) => since.elapsed() > TRANSACTION_TIMEOUT,
            SessionState::Abandoned => true,
        });
        kill(&self.database, &lost).await?;
        let killed: Vec<_> =
            lock(&self.inner.abandoned).extract_if(.., |session| lost.contains(session.id())).collect();
        for session in killed {
            self.release(session);
        }
        Ok(())
    }

    async fn reap_dead_replicas(&self) -> Result<()> {
        let replicas = self.database.collection::<Document>(REPLICAS);
        let with_time = [doc! { "$set": { "now": "$$NOW" } }];
        // Not a majority read: its heartbeats could be older than the current ones.
        let reading = replicas.aggregate(with_time).with_type::<ReplicaRecord>().read_concern(ReadConcern::local());
        let all: Vec<ReplicaRecord> = reading.await?.try_collect().await?;
        for replica in all {
            if replica.seen_at.to_chrono() + HEARTBEAT_EXPIRY >= replica.now.to_chrono() {
                continue;
            }
            kill(&self.database, &replica.sessions).await?;
            tracing::info!(
                replica = replica.id,
                sessions = replica.sessions.len(),
                "killed the sessions of a replica without a heartbeat"
            );
            replicas.delete_one(doc! { "_id": replica.id, "seen_at": replica.seen_at }).await?;
        }
        Ok(())
    }
}

/// Creates the index that deletes replicas that died long ago. Safe to repeat.
pub async fn create_indexes(database: &Database) -> Result<()> {
    let expiry = IndexOptions::builder().name("seen_at".to_owned()).expire_after(REPLICA_RETENTION).build();
    let seen_at = IndexModel::builder().keys(doc! { "seen_at": 1 }).options(expiry).build();
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
