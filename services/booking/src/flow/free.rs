//! A booking that costs nothing: its seats are sold as soon as they are held.

use contracts::message::Message;
use platform::failpoint;

use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::{Booking, CancelReason},
    error::Interrupted,
    flow::expire,
    state::{AppState, INLINE_LEASE},
};

/// Sells the held seats of a Pending booking of amount 0. `None` if it is not known yet whether they are sold, or if
/// the booking went elsewhere meanwhile.
pub async fn confirm(state: &AppState, booking: &Booking) -> Result<Option<Booking>, Interrupted> {
    let confirm = || state.events.confirm(&booking.event_id, booking.reservation_id);
    match state.events.until_known(confirm).await.1 {
        Ok(()) => {
            failpoint!("booking.free.sold");
            store_confirmed(state, booking).await
        }
        Err(CallFailure::Refused { refusal: Refusal::EventCancelled | Refusal::EventNotFound, .. }) => {
            call_off(state, booking).await
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
    unit.tell(&Message::BookingConfirmed(confirmed.fact(state.clock.now()))).await?;
    unit.commit().await?;
    failpoint!("booking.free.stored");
    state.relay_wake.notify_one();
    metrics::counter!("eventplatform_bookings_total", "outcome" => "confirmed").increment(1);
    Ok(Some(confirmed))
}

/// The event was called off, and its message has not come yet.
async fn call_off(state: &AppState, booking: &Booking) -> Result<Option<Booking>, Interrupted> {
    let mut unit = state.store.begin().await?;
    let change = booking.cancel(CancelReason::EventCancelled)?;
    let Some(cancelled) = unit.apply(&change, Some(INLINE_LEASE)).await? else { return Ok(None) };
    unit.tell(&Message::BookingCancelled(cancelled.fact(state.clock.now()))).await?;
    unit.commit().await?;
    failpoint!("booking.free.called_off");
    state.relay_wake.notify_one();
    expire::release_seats(state, &cancelled).await?;
    Ok(Some(cancelled))
}
