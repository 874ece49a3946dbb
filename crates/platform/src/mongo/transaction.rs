//! Transactions that are retried when another one was faster, and whose commit is asked for again when its answer was
//! lost.

use std::time::Duration;

use futures::future::BoxFuture;
use mongodb::{
    ClientSession,
    error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{Acknowledgment, ReadConcern, WriteConcern},
};
use tokio::time::Instant;

use super::{is_contended, is_duplicate_key, is_unavailable, sessions::Sessions};
use crate::retry::Backoff;

/// The longest wait for a majority at a commit.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pauses between attempts, and between requests for a commit.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(4), Duration::from_millis(250)).with_jitter();

/// Why the work of a transaction failed. [`From`] an error of the driver: a conflict if the server says so, or if a
/// unique index refused a write, because the next attempt sees whoever was faster.
#[derive(Debug)]
pub enum WorkFailure {
    /// Another transaction changed what this one read: the whole work is worth another attempt.
    Conflict(Error),
    /// Another attempt would fail too.
    Failed(Error),
}

impl WorkFailure {
    /// A conflict that the work noticed itself, such as a compare-and-set that matched nothing.
    pub fn conflict(reason: impl Into<String>) -> Self {
        Self::Conflict(Error::custom(reason.into()))
    }
}

impl From<Error> for WorkFailure {
    fn from(error: Error) -> Self {
        // A server that cannot be reached is not a conflict: waiting for it here would block a message or a request.
        let absent = matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. });
        if !absent && (error.contains_label(TRANSIENT_TRANSACTION_ERROR) || is_duplicate_key(&error)) {
            Self::Conflict(error)
        } else {
            Self::Failed(error)
        }
    }
}

/// The result of the work of a transaction.
pub type WorkResult<T> = Result<T, WorkFailure>;

/// Why a transaction was not committed, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum TransactionFailure {
    /// Nothing was written.
    #[error("nothing was written")]
    NotCommitted(#[source] Error),
    /// The answer to the commit did not arrive in time.
    #[error("whether it was written is not known")]
    Unknown(#[source] Error),
}

impl TransactionFailure {
    /// Whether the database was away or slow, rather than that the work was wrong.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::NotCommitted(error) => is_unavailable(error),
            Self::Unknown(_) => true,
        }
    }
}

/// The driver's error.
impl From<TransactionFailure> for Error {
    fn from(failure: TransactionFailure) -> Self {
        match failure {
            TransactionFailure::NotCommitted(error) | TransactionFailure::Unknown(error) => error,
        }
    }
}

#[cfg(feature = "server")]
impl From<TransactionFailure> for crate::ApiError {
    fn from(failure: TransactionFailure) -> Self {
        Error::from(failure).into()
    }
}

/// Runs `work` in a snapshot transaction and commits it. The whole is retried on conflicts, and the commit alone while
/// its outcome is unknown, until `limit` has passed.
///
/// `work` gets `context`, whatever it needs to borrow. It runs once for each attempt, so its only effects are those in the
/// session. Must not be dropped midway.
pub async fn transaction<T, C, F>(
    sessions: &Sessions,
    limit: Duration,
    mut context: C,
    mut work: F,
) -> Result<T, TransactionFailure>
where
    F: for<'a> FnMut(&'a mut ClientSession, &'a mut C) -> BoxFuture<'a, WorkResult<T>>,
{
    let deadline = Instant::now() + limit;
    let mut pauses = BACKOFF.pauses();
    loop {
        let conflict = match attempt(sessions, deadline, &mut context, &mut work).await {
            Ok(value) => return Ok(value),
            Err(Attempt::Conflict(error)) if Instant::now() < deadline => error,
            Err(Attempt::Conflict(error) | Attempt::Failed(error)) => {
                return Err(TransactionFailure::NotCommitted(error));
            }
            Err(Attempt::Unknown(error)) => return Err(TransactionFailure::Unknown(error)),
        };
        tracing::debug!(error = %conflict, "transaction conflict; trying again");
        metrics::counter!("eventplatform_transaction_retries_total").increment(1);
        pause(&mut pauses).await;
    }
}

/// Why one attempt failed.
enum Attempt {
    Conflict(Error),
    Failed(Error),
    Unknown(Error),
}

impl From<WorkFailure> for Attempt {
    fn from(failure: WorkFailure) -> Self {
        match failure {
            WorkFailure::Conflict(error) => Self::Conflict(error),
            WorkFailure::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        WorkFailure::from(error).into()
    }
}

/// The session is kept for the next transaction unless this one may still be open on the server.
async fn attempt<T, C, F>(sessions: &Sessions, deadline: Instant, context: &mut C, work: &mut F) -> Result<T, Attempt>
where
    F: for<'a> FnMut(&'a mut ClientSession, &'a mut C) -> BoxFuture<'a, WorkResult<T>>,
{
    let _permit = sessions.permit().await;
    let mut session = sessions.acquire().await?;
    let result = run(&mut session, deadline, context, work).await;
    match &result {
        Ok(_) => sessions.release(session),
        Err(Attempt::Conflict(error) | Attempt::Failed(error)) if is_contended(error) => sessions.release(session),
        Err(_) => sessions.abandon(session),
    }
    result
}

async fn run<T, C, F>(
    session: &mut ClientSession,
    deadline: Instant,
    context: &mut C,
    work: &mut F,
) -> Result<T, Attempt>
where
    F: for<'a> FnMut(&'a mut ClientSession, &'a mut C) -> BoxFuture<'a, WorkResult<T>>,
{
    start(session).await?;
    match work(session, context).await {
        Ok(value) => commit(session, deadline).await.map(|()| value),
        Err(failure) => {
            // Its failure changes nothing: the server ends what nobody commits.
            session.abort_transaction().await.ok();
            Err(failure.into())
        }
    }
}

async fn start(session: &mut ClientSession) -> Result<(), Error> {
    session
        .start_transaction()
        .read_concern(ReadConcern::snapshot())
        .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build())
        .max_commit_time(COMMIT_TIMEOUT)
        .await
}

/// Discards what the work has done so far, so that it can go on in a new transaction, with a new snapshot.
pub async fn restart(session: &mut ClientSession) -> Result<(), Error> {
    // Its failure changes nothing: a new transaction of a session ends the previous one.
    session.abort_transaction().await.ok();
    start(session).await
}

/// Commits, and asks again while the answer is missing: the server recognizes a commit that it has made.
async fn commit(session: &mut ClientSession, deadline: Instant) -> Result<(), Attempt> {
    let mut pauses = BACKOFF.pauses();
    loop {
        match session.commit_transaction().await {
            Ok(()) => return Ok(()),
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                if Instant::now() >= deadline {
                    return Err(Attempt::Unknown(error));
                }
                pause(&mut pauses).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn pause(pauses: &mut (impl Iterator<Item = Duration> + Send)) {
    tokio::time::sleep(pauses.next().unwrap_or_default()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_that_the_work_noticed_is_retried_and_another_error_is_not() {
        assert!(matches!(WorkFailure::conflict("the version moved on"), WorkFailure::Conflict(_)));
        assert!(matches!(WorkFailure::from(Error::custom("malformed")), WorkFailure::Failed(_)));
    }
}
