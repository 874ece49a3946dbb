//! Group commit, the other half: one transaction reads an event and its reservations, and writes the outcome of a
//! batch in one command.

mod read;
mod write;

use std::time::Duration;

use futures::FutureExt;
use mongodb::{ClientSession, error::TRANSIENT_TRANSACTION_ERROR};
use platform::mongo::transaction::{TransactionFailure, WorkFailure, WorkResult, restart, transaction};

use super::Store;
use crate::domain::batch::{BatchOutcome, Operation, Snapshot, apply_batch};

/// How long a batch is retried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Up to this many holds are written before the reservations are read. Larger batches share these reads.
const MAX_UNREAD: usize = 4;

impl Store {
    /// Applies operations to one event in one transaction, which is retried after conflicts.
    ///
    /// Must not be dropped midway.
    pub(crate) async fn commit_batch(
        &self,
        event_id: &str,
        operations: &[Operation],
    ) -> Result<BatchOutcome, TransactionFailure> {
        let context = (self, event_id, operations);
        transaction(&self.sessions, RETRY_TIMEOUT, context, |session, (store, event_id, operations)| {
            store.apply_and_write(session, event_id, operations).boxed()
        })
        .await
    }

    async fn apply_and_write(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        operations: &[Operation],
    ) -> WorkResult<BatchOutcome> {
        if operations.len() <= MAX_UNREAD
            && operations.iter().all(|operation| matches!(operation, Operation::Hold(_)))
            && let Some(outcome) = self.hold_unread(session, event_id, operations).await?
        {
            return Ok(outcome);
        }
        let (snapshot, now) = self.read_snapshot(session, event_id, operations).await?;
        let event = snapshot.event.clone();
        let outcome = apply_batch(event_id, snapshot, operations, now);
        if let Some(pending) = outcome.pending.clone() {
            self.write_pending_notification(session, event_id, pending).await?;
        }
        self.write_outcome(session, event.as_ref(), &outcome, Vec::new(), now).await?;
        Ok(outcome)
    }

    /// Holds seats without reading reservations: their ids are mostly new, and their users mostly have no seats of the
    /// event. The write notices if that is not so. `None` if something stands in the way; then nothing is written.
    async fn hold_unread(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        operations: &[Operation],
    ) -> WorkResult<Option<BatchOutcome>> {
        let (event, now) = self.read_event(session, event_id).await?;
        let snapshot = Snapshot { event: event.clone(), ..Snapshot::default() };
        let outcome = apply_batch(event_id, snapshot, operations, now);
        // A refusal may be wrong, for example if the hold exists already.
        if outcome.answers.iter().any(Result::is_err) {
            return Ok(None);
        }
        let users = operations.iter().filter_map(Operation::user_id);
        let states: &[_] =
            if read::counts_sold(event.as_ref(), operations) { &["held", "confirmed"] } else { &["held"] };
        let seats_of = |user_id| states.iter().map(move |state| read::seats_of(event_id, user_id, state));
        let must_be_absent = users.flat_map(seats_of).collect();
        match self.write_outcome(session, event.as_ref(), &outcome, must_be_absent, now).await {
            Ok(()) => Ok(Some(outcome)),
            Err(WorkFailure::Conflict(error)) if !error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                restart(session).await?;
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }
}
