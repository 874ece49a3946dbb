//! Group commit, the other half: one transaction reads an event and its reservations, and writes the outcome of a
//! batch.

mod read;
mod write;

use std::time::Duration;

use mongodb::{
    ClientSession,
    error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{Acknowledgment, ReadConcern, WriteConcern},
};
use platform::mongo::{is_contended, is_duplicate_key, is_unavailable};
use tokio::time::{Instant, sleep};

use super::Store;
use crate::domain::batch::{BatchOutcome, Operation, apply_batch};

/// How long a batch is retried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a commit waits for a majority.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// The first backoff is random up to this; the limit doubles each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(4);
const MAX_BACKOFF: Duration = Duration::from_millis(250);

/// Why a batch was not committed, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum BatchFailure {
    #[error("nothing was written")]
    NotCommitted(#[source] Error),
    /// The response to the commit did not arrive.
    #[error("whether it was written is not known")]
    Unknown(#[source] Error),
}

impl BatchFailure {
    /// Whether the database was away or slow, rather than that the batch was wrong.
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Self::NotCommitted(error) => is_unavailable(error),
            Self::Unknown(_) => true,
        }
    }
}

/// Why one attempt to commit a batch failed.
enum AttemptFailure {
    /// Another transaction changed what was read: the whole batch is worth another attempt.
    Conflict(Error),
    Failed(Error),
    /// The response to the commit did not arrive.
    Unknown(Error),
}

impl From<Error> for AttemptFailure {
    fn from(error: Error) -> Self {
        // A server that cannot be found is no conflict. A duplicate key is: the next attempt reads the other insert.
        let absent = matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. });
        if !absent && (error.contains_label(TRANSIENT_TRANSACTION_ERROR) || is_duplicate_key(&error)) {
            Self::Conflict(error)
        } else {
            Self::Failed(error)
        }
    }
}

impl Store {
    /// Applies operations to one event in one transaction, which is retried after conflicts.
    ///
    /// Must not be dropped midway.
    pub(crate) async fn commit_batch(
        &self,
        event_id: &str,
        operations: &[Operation],
    ) -> Result<BatchOutcome, BatchFailure> {
        let deadline = Instant::now() + RETRY_TIMEOUT;
        let mut backoff = FIRST_BACKOFF;
        loop {
            match self.attempt(event_id, operations, deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(AttemptFailure::Conflict(_)) if Instant::now() < deadline => {
                    metrics::counter!("eventplatform_transaction_retries_total").increment(1);
                    sleep(backoff.mul_f64(rand::random::<f64>())).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
                Err(AttemptFailure::Conflict(error) | AttemptFailure::Failed(error)) => {
                    return Err(BatchFailure::NotCommitted(error));
                }
                Err(AttemptFailure::Unknown(error)) => return Err(BatchFailure::Unknown(error)),
            }
        }
    }

    async fn attempt(
        &self,
        event_id: &str,
        operations: &[Operation],
        deadline: Instant,
    ) -> Result<BatchOutcome, AttemptFailure> {
        let _turn = self.sessions.permit().await;
        let mut session = self.sessions.acquire().await?;
        let result = self.transact(&mut session, event_id, operations, deadline).await;
        match &result {
            Ok(_) => self.sessions.release(session),
            Err(AttemptFailure::Conflict(error)) if is_contended(error) => self.sessions.release(session),
            Err(_) => self.sessions.abandon(session),
        }
        result
    }

    async fn transact(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        operations: &[Operation],
        deadline: Instant,
    ) -> Result<BatchOutcome, AttemptFailure> {
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build())
            .max_commit_time(COMMIT_TIMEOUT)
            .await?;
        match self.read_and_write(session, event_id, operations).await {
            Ok(outcome) => commit(session, deadline).await.map(|()| outcome),
            Err(failure) => {
                // If this fails too, the server aborts the transaction itself.
                session.abort_transaction().await.ok();
                Err(failure)
            }
        }
    }

    async fn read_and_write(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        operations: &[Operation],
    ) -> Result<BatchOutcome, AttemptFailure> {
        let (snapshot, now) = self.read_snapshot(session, event_id, operations).await?;
        let event = snapshot.event.clone();
        let outcome = apply_batch(event_id, snapshot, operations, now);
        if let Some(pending) = outcome.pending.clone() {
            self.write_pending_notification(session, event_id, pending).await?;
        }
        self.write_outcome(session, event, &outcome, now).await?;
        Ok(outcome)
    }
}

/// Commits, and repeats the commit while its result is unknown: the server answers a repeated commit as the first one.
async fn commit(session: &mut ClientSession, deadline: Instant) -> Result<(), AttemptFailure> {
    loop {
        match session.commit_transaction().await {
            Ok(()) => return Ok(()),
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                if Instant::now() >= deadline {
                    return Err(AttemptFailure::Unknown(error));
                }
                sleep(FIRST_BACKOFF.mul_f64(rand::random::<f64>())).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
