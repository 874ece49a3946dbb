//! An account was deleted: name and address go, and bookings of events to come are cancelled and refunded.

use chrono::TimeDelta;
use platform::failpoint;

use super::cancel::store_cancelled;
use crate::{
    error::{Interrupted, NotCancelled},
    state::AppState,
};

/// Goes on with the deletion of an account; checks again later unless everything is done.
///
/// Seats and money of what is cancelled here are given back by the sweepers of bookings and refunds, so a neighbour
/// that is away holds no other deletion up.
pub async fn forget(state: &AppState, user_id: i32) -> Result<(), Interrupted> {
    state.store.forget_user(user_id).await?;
    failpoint!("booking.account.forgotten");
    cancel_open(state, user_id).await?;
    if state.store.finish_account_deletion(user_id, state.clock.now()).await? {
        tracing::info!(user_id, "account deletion finished");
        return Ok(());
    }
    Ok(state.store.postpone_account_deletion(user_id).await?)
}

/// Cancels what can be cancelled; the rest, such as a booking that is being paid, is left to the next check.
async fn cancel_open(state: &AppState, user_id: i32) -> Result<(), Interrupted> {
    for booking_id in state.store.list_open_bookings(user_id, state.clock.now()).await? {
        // Nobody is left who could come, so the deadline of owners does not apply: cancelled until the event starts.
        match store_cancelled(state, user_id, booking_id, TimeDelta::zero(), None).await {
            Ok(_) => state.relay_wake.notify_one(),
            Err(NotCancelled::Interrupted(error)) => return Err(error),
            Err(refusal) => tracing::debug!(booking_id, %refusal, "not cancelled yet"),
        }
    }
    Ok(())
}
