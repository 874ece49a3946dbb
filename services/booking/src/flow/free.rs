//! A free booking: its seats are confirmed as soon as they are held.

use contracts::message::Message;
use platform::failpoint;

use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::{Booking, CancelReason},
    error::Interrupted,
    flow::expire,
    state::{AppState, INLINE_LEASE},
};

/// Confirms the held seats of a Pending booking of amount 0. `None` if it is unknown whether they are confirmed, or if
/// the booking changed meanwhile.
pub async fn confirm(state: &AppState, booking: &Booking) -> Result<Option<Booking>, Interrupted> {
    let confirm = || state.events.confirm(&booking.event_id, booking.reservation_id);
    match state.events.retry_until_conclusive(confirm).await.1 {
        Ok(()) => {
            failpoint!("booking.free.sold");
            store_confirmed(state, booking).await
        }
        Err(CallFailure::Refused { refusal: Refusal::EventCancelled | Refusal::EventNotFound, .. }) => {
            cancel(state, booking).await
        }
        Err(CallFailure::Refused { refusal: Refusal::ReservationReleased | Refusal::ReservationNotFound, .. }) => {
            expire::store_expired(state, booking).await
        }
        Err(failure) => {
            tracing::warn!(booking_id = booking.id, %failure, "free seats not confirmed yet");
            Ok(None)
        }
    }
}

async fn store_confirmed(state: &AppState, booking: &Booking) -> Result<Option<Booking>, Interrupted> {
    let mut unit = state.store.begin().await?;
    let Some(confirmed) = unit.apply(&booking.confirm()?, None).await? else { return Ok(None) };
    unit.enqueue(&Message::BookingConfirmed(confirmed.fact(state.clock.now()))).await?;
    unit.commit().await?;
    failpoint!("booking.free.stored");
    state.relay_wake.notify_one();
    metrics::counter!("eventplatform_bookings_total", "outcome" => "confirmed").increment(1);
    Ok(Some(confirmed))
}

/// The event was cancelled, and the message about it has not arrived yet.
async fn cancel(state: &AppState, booking: &Booking) -> Result<Option<Booking>, Interrupted> {
    let mut unit = state.store.begin().await?;
    let change = booking.cancel(CancelReason::EventCancelled)?;
    let Some(cancelled) = unit.apply(&change, Some(INLINE_LEASE)).await? else { return Ok(None) };
    unit.enqueue(&Message::BookingCancelled(cancelled.fact(state.clock.now()))).await?;
    unit.commit().await?;
    failpoint!("booking.free.called_off");
    state.relay_wake.notify_one();
    expire::release_seats(state, &cancelled).await?;
    Ok(Some(cancelled))
}
