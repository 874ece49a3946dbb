//! The owner cancels a booking: the cancellation is stored first, then seats are released and money is refunded.

use std::time::Duration;

use chrono::TimeDelta;
use contracts::message::Message;
use platform::{ApiResult, failpoint};

use super::{expire::release_seats, refund};
use crate::{
    domain::{AttemptState, Booking, CancelReason, Refund},
    error::{Interrupted, NotCancelled, booking_not_found},
    state::{AppState, INLINE_LEASE},
};

/// Cancels a booking of the user. A cancelled booking stays as it is.
pub async fn cancel(state: &AppState, user_id: i32, booking_id: i32) -> ApiResult<Booking> {
    let deadline = state.policy.cancel_deadline;
    let (booking, refund) = store_cancelled(state, user_id, booking_id, deadline, Some(INLINE_LEASE)).await?;
    state.relay_wake.notify_one();
    if let Err(error) = release_and_refund(state, &booking, refund.as_ref()).await {
        // The cancellation is stored, and with it what the sweepers have to finish.
        tracing::warn!(booking_id, error = format!("{:#}", anyhow::Error::new(error)), "left to the sweepers");
    }
    let booking = state.store.find_booking(booking_id).await?;
    booking.ok_or_else(booking_not_found)
}

/// Stores the cancellation of a booking of the user, until `deadline` before its event, and orders its refund.
///
/// `lease` keeps sweepers away while the caller itself releases the seats and refunds the money.
pub(super) async fn store_cancelled(
    state: &AppState,
    user_id: i32,
    booking_id: i32,
    deadline: TimeDelta,
    lease: Option<Duration>,
) -> Result<(Booking, Option<Refund>), NotCancelled> {
    let mut unit = state.store.begin().await?;
    let (booking, _) = unit.lock_booking(user_id, booking_id).await?.ok_or(NotCancelled::NotFound)?;
    let attempt = unit.find_active_attempt(booking.id).await?;
    if !booking.may_cancel(attempt.is_some(), state.clock.now(), deadline)? {
        return Ok((Booking { release_pending: false, ..booking }, None));
    }
    let change = booking.cancel(CancelReason::ByAttendee).map_err(Interrupted::from)?;
    let cancelled = unit.apply(&change, lease).await?;
    let cancelled = cancelled.ok_or(Interrupted::Inconsistent("a locked booking moved"))?;
    let paid = attempt.filter(|attempt| attempt.state == AttemptState::Succeeded);
    let refund = match paid {
        Some(paid) => Some(unit.order_refund(paid.id, CancelReason::ByAttendee.into(), lease).await?),
        None => None,
    };
    unit.enqueue(&Message::BookingCancelled(cancelled.fact(state.clock.now()))).await?;
    unit.commit().await?;
    failpoint!("booking.cancel.stored");
    metrics::counter!("eventplatform_bookings_total", "outcome" => "cancelled").increment(1);
    Ok((cancelled, refund))
}

async fn release_and_refund(state: &AppState, booking: &Booking, refund: Option<&Refund>) -> Result<(), Interrupted> {
    if booking.release_pending {
        release_seats(state, booking).await?;
        failpoint!("booking.cancel.released");
    }
    if let Some(refund) = refund {
        refund::execute(state, refund).await?;
    }
    Ok(())
}
