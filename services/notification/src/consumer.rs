//! Messages in: each becomes one notification, stored before the message is acknowledged, or deletes an account's
//! notifications.

use std::time::Duration;

use contracts::message::{Message, UserFact};
use platform::{
    Clock,
    bus::{Failure, Received},
    mongo::{is_contended, is_unavailable},
};
use tokio::time::Instant;

use crate::{
    domain::{Insertion, NewNotification},
    hub::Hub,
    store::Store,
};

/// `DocumentValidationFailure`: the validator of the collection refuses the document, and always will.
const REFUSED_BY_VALIDATOR: i32 = 121;
/// How long a message is tried again and again while others hold its user's place: longer than it takes to notice that
/// a replica died, shorter than a drain.
const PATIENCE: Duration = Duration::from_secs(12);

/// What handling a message takes. Cheap to clone.
#[derive(Clone)]
pub struct Consumer {
    store: Store,
    hub: Hub,
    clock: Clock,
}

impl Consumer {
    /// Stores in `store`, and wakes the listeners at `hub`.
    pub fn new(store: Store, hub: Hub, clock: Clock) -> Self {
        Self { store, hub, clock }
    }

    /// Stores what the message tells a person, or deletes what a deleted account was told. The same message again
    /// changes nothing.
    ///
    /// `Unavailable` while MongoDB is away, `Unsupported` for a message that is for no person: a newer version may
    /// make a notification of it.
    pub async fn handle(&self, received: Received) -> Result<(), Failure> {
        match &received.message {
            Message::UserDeleted(fact) => self.delete_account(fact).await.map_err(failure),
            _ => self.notify(&received).await,
        }
    }

    async fn delete_account(&self, fact: &UserFact) -> mongodb::error::Result<()> {
        let UserFact { user_id, occurred_at } = *fact;
        let deleted = patiently(user_id, || self.store.delete_account(user_id, occurred_at)).await?;
        tracing::info!(user_id, notifications = deleted, "deleted the notifications of a deleted account");
        Ok(())
    }

    async fn notify(&self, received: &Received) -> Result<(), Failure> {
        let new = NewNotification::from_message(received.id, &received.message, self.clock.now())
            .map_err(|error| Failure::Unsupported(error.into()))?;
        let insertion = patiently(new.user_id, || self.store.insert_notification(&new)).await.map_err(failure)?;
        match insertion {
            Insertion::Stored(seq) => {
                metrics::counter!("eventplatform_notifications_total", "type" => new.kind.as_str()).increment(1);
                tracing::debug!(id = %new.id, user_id = new.user_id, seq, kind = new.kind.as_str(), "stored");
                self.hub.wake(new.user_id, seq);
            }
            Insertion::Known => {
                metrics::counter!("eventplatform_notification_duplicates_total").increment(1);
                tracing::debug!(id = %new.id, "stored before");
            }
            Insertion::AccountDeleted => {
                tracing::debug!(id = %new.id, user_id = new.user_id, "not stored: the account is deleted");
            }
        }
        Ok(())
    }
}

/// Writes to a user's documents, with patience for what a dead replica left locked; see
/// [`platform::mongo::sessions`].
///
/// A server that is away is no contention: for that the message waits outside.
async fn patiently<T, Fut>(user_id: i32, write: impl Fn() -> Fut) -> mongodb::error::Result<T>
where
    Fut: Future<Output = mongodb::error::Result<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match write().await {
            Err(error) if is_contended(&error) && Instant::now() < deadline => {
                tracing::debug!(%error, user_id, "others are at this user's place; trying again");
            }
            outcome => return outcome,
        }
    }
}

fn failure(error: mongodb::error::Error) -> Failure {
    if is_unavailable(&error) {
        Failure::Unavailable(error.into())
    } else if is_refused_by_validator(&error) {
        Failure::Poison(error.into())
    } else {
        Failure::Failed(error.into())
    }
}

fn is_refused_by_validator(error: &mongodb::error::Error) -> bool {
    use mongodb::error::{ErrorKind, WriteFailure};
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code == REFUSED_BY_VALIDATOR,
        ErrorKind::Command(command) => command.code == REFUSED_BY_VALIDATOR,
        _ => false,
    }
}
