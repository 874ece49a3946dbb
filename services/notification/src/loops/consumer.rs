//! Handles messages: stores a notification, or deletes those of an account, before the message is acknowledged.

use std::{future::Future, time::Duration};

use contracts::message::{Message, NOTIFICATION_QUEUES, UserFact};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use platform::{
    Lifecycle,
    bus::{self, Bus, Failure, Received},
    mongo::{is_contended, is_unavailable},
};
use tokio::time::Instant;

use crate::{
    domain::{InsertOutcome, NewNotification},
    state::AppState,
};

/// MongoDB's code `DocumentValidationFailure`: the collection's validator will never accept the document.
const VALIDATION_FAILURE: i32 = 121;
/// How long a write is retried while other transactions hold the user's documents: longer than it takes to notice that a
/// replica died, shorter than a drain.
const CONTENTION_TIMEOUT: Duration = Duration::from_secs(12);

/// Starts one consumer for each queue of this service, and the gauge of their dead letters.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: &Bus, concurrency: u16) {
    for queue in NOTIFICATION_QUEUES {
        let state = state.clone();
        bus::start_consumer(lifecycle, bus.clone(), queue, concurrency, move |received| {
            let state = state.clone();
            async move { handle(&state, received).await }
        });
    }
    bus::start_counting_dead_letters(lifecycle, bus.clone(), &NOTIFICATION_QUEUES);
}

/// Handles a message. Idempotent by message id.
///
/// Fails with [`Failure::Unsupported`] if the message is not for a user: a newer version may store a notification for
/// it.
pub async fn handle(state: &AppState, received: Received) -> Result<(), Failure> {
    match &received.message {
        Message::UserDeleted(user) => delete_account(state, user).await.map_err(failure),
        _ => store_notification(state, &received).await,
    }
}

async fn delete_account(state: &AppState, user: &UserFact) -> mongodb::error::Result<()> {
    let UserFact { user_id, occurred_at } = *user;
    let deleted = retry_while_contended(user_id, || state.store.delete_account(user_id, occurred_at)).await?;
    tracing::info!(user_id, notifications = deleted, "deleted the notifications of a deleted account");
    Ok(())
}

async fn store_notification(state: &AppState, received: &Received) -> Result<(), Failure> {
    let new = NewNotification::from_message(received.id, &received.message, state.clock.now())
        .map_err(|error| Failure::Unsupported(error.into()))?;
    let insert = || state.store.insert_notification(&new);
    match retry_while_contended(new.user_id, insert).await.map_err(failure)? {
        InsertOutcome::Stored(seq) => {
            metrics::counter!("eventplatform_notifications_total", "type" => new.kind.into_str()).increment(1);
            tracing::debug!(id = %new.id, user_id = new.user_id, seq, kind = new.kind.into_str(), "notification stored");
            state.hub.wake(new.user_id, seq);
        }
        InsertOutcome::Duplicate => {
            metrics::counter!("eventplatform_notification_duplicates_total").increment(1);
            tracing::debug!(id = %new.id, "notification already stored");
        }
        InsertOutcome::AccountDeleted => {
            tracing::debug!(id = %new.id, user_id = new.user_id, "not stored: the account is deleted");
        }
    }
    Ok(())
}

/// Retries a write to the documents of a user while other transactions hold them, at most for [`CONTENTION_TIMEOUT`]. A
/// replica that died may have left them locked; see [`platform::mongo::sessions`].
async fn retry_while_contended<T, Fut>(user_id: i32, write: impl Fn() -> Fut) -> mongodb::error::Result<T>
where
    Fut: Future<Output = mongodb::error::Result<T>>,
{
    let deadline = Instant::now() + CONTENTION_TIMEOUT;
    loop {
        match write().await {
            Err(error) if is_contended(&error) && Instant::now() < deadline => {
                tracing::debug!(%error, user_id, "the user's documents are contended; trying again");
            }
            result => return result,
        }
    }
}

fn failure(error: Error) -> Failure {
    if is_unavailable(&error) {
        Failure::Unavailable(error.into())
    } else if is_validation_failure(&error) {
        Failure::Poison(error.into())
    } else {
        Failure::Failed(error.into())
    }
}

fn is_validation_failure(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code == VALIDATION_FAILURE,
        ErrorKind::Command(command) => command.code == VALIDATION_FAILURE,
        _ => false,
    }
}
