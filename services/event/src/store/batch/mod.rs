//! Group commit, the other half: one transaction reads an event and its reservations, and writes the outcome of a
//! batch.

mod read;
mod write;

use std::time::Duration;

use futures::FutureExt;
use mongodb::ClientSession;
use platform::mongo::transaction::{TransactionFailure, WorkResult, transaction};

use super::Store;
use crate::domain::batch::{BatchOutcome, Operation, apply_batch};

/// How long a batch is retried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

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
            store.read_and_write(session, event_id, operations).boxed()
        })
        .await
    }

    async fn read_and_write(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        operations: &[Operation],
    ) -> WorkResult<BatchOutcome> {
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
