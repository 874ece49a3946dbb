//! A user deleted the account: name and e-mail address are erased, and bookings of future events are cancelled.

use chrono::TimeDelta;
use platform::failpoint;

use super::cancel::store_cancelled;
use crate::{
    error::{Interrupted, NotCancelled},
    state::AppState,
};

/// Continues the deletion of an account, and postpones it unless everything is done.
///
/// The sweepers of bookings and refunds release the seats and refund the money of the cancelled bookings, so that a
/// service that is down delays no other deletion.
pub async fn delete_account(state: &AppState, user_id: i32) -> Result<(), Interrupted> {
    state.store.erase_personal_data(user_id).await?;
    failpoint!("booking.account.forgotten");
    cancel_open_bookings(state, user_id).await?;
    if state.store.finish_account_deletion(user_id, state.clock.now()).await? {
        tracing::info!(user_id, "account deletion finished");
        return Ok(());
    }
    Ok(state.store.postpone_account_deletion(user_id).await?)
}

/// Cancels what can be cancelled; the rest, such as a booking that is being paid, waits for the next attempt.
async fn cancel_open_bookings(state: &AppState, user_id: i32) -> Result<(), Interrupted> {
    for booking_id in state.store.list_open_bookings(user_id, state.clock.now()).await? {
        // Nobody will attend, so the owner's deadline does not apply: cancel until the event starts.
        match store_cancelled(state, user_id, booking_id, TimeDelta::zero(), None).await {
            Ok(_) => {}
            Err(NotCancelled::Interrupted(error)) => return Err(error),
            Err(refusal) => tracing::debug!(booking_id, %refusal, "not cancelled yet"),
        }
    }
    Ok(())
}
