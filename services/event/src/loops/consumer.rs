//! Handles messages about deleted accounts. Only stores them; a sweeper cancels the events.

use contracts::message::{EVENT_USER_QUEUE, Message};
use mongodb::error::Error;
use platform::{
    Lifecycle,
    bus::{self, Bus, Failure, Received},
    failpoint,
    mongo::is_unavailable,
};

use crate::state::AppState;

/// Messages that are handled at once.
const CONCURRENCY: u16 = 4;

/// Starts the consumer, and the gauge of its dead letters.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: &Bus) {
    bus::start_counting_dead_letters(lifecycle, bus.clone(), &[EVENT_USER_QUEUE]);
    let state = state.clone();
    bus::start_consumer(lifecycle, bus.clone(), EVENT_USER_QUEUE, CONCURRENCY, move |received| {
        let state = state.clone();
        async move { handle(&state, received).await }
    });
}

/// Handles a message. Idempotent.
pub async fn handle(state: &AppState, received: Received) -> Result<(), Failure> {
    match received.message {
        Message::UserDeleted(user) => {
            state.store.insert_account_deletion(user).await.map_err(failure)?;
            state.deletions.notify_one();
        }
        other => return Err(Failure::Unsupported(anyhow::anyhow!("{} is not handled here", other.routing_key()))),
    }
    failpoint!("event.consumer.account_deleted");
    Ok(())
}

fn failure(error: Error) -> Failure {
    if is_unavailable(&error) { Failure::Unavailable(error.into()) } else { Failure::Failed(error.into()) }
}
