//! Ends holds and releases seats. Only event-service decides whether a hold is over.

use contracts::{message::Message, reservation::ReservationState};
use platform::failpoint;

use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::Booking,
    error::Interrupted,
    state::AppState,
};

/// Expires a Pending booking whose hold is over by event-service's clock; otherwise postpones it.
pub async fn expire(state: &AppState, booking: &Booking) -> Result<(), Interrupted> {
    match state.events.release(&booking.event_id, booking.reservation_id, true).await {
        Ok(ReservationState::Released) | Err(CallFailure::Refused { refusal: Refusal::EventNotFound, .. }) => {
            failpoint!("booking.expire.released");
            store_expired(state, booking).await.map(drop)
        }
        // Still held by its clock, or confirmed by a payment that is about to be stored.
        Ok(ReservationState::Held | ReservationState::Confirmed) => {
            Ok(state.store.postpone_booking(booking.id).await?)
        }
        Err(failure) => {
            tracing::warn!(booking_id = booking.id, %failure, "hold not ended yet");
            Ok(state.store.postpone_booking(booking.id).await?)
        }
    }
}

/// Stores the expiry of a Pending booking. `None` if the booking changed meanwhile.
pub(super) async fn store_expired(state: &AppState, booking: &Booking) -> Result<Option<Booking>, Interrupted> {
    let mut unit = state.store.begin().await?;
    let Some(expired) = unit.apply(&booking.expire()?, None).await? else { return Ok(None) };
    unit.enqueue(&Message::BookingExpired(expired.fact(state.clock.now()))).await?;
    unit.commit().await?;
    failpoint!("booking.expire.stored");
    state.relay_wake.notify_one();
    metrics::counter!("eventplatform_bookings_total", "outcome" => "expired").increment(1);
    Ok(Some(expired))
}

/// Releases the seats of a booking that ended, whatever the state of the reservation; postpones it on failure.
pub async fn release_seats(state: &AppState, booking: &Booking) -> Result<(), Interrupted> {
    let release = || state.events.release(&booking.event_id, booking.reservation_id, false);
    match state.events.retry_until_conclusive(release).await.1 {
        Ok(ReservationState::Released) | Err(CallFailure::Refused { refusal: Refusal::EventNotFound, .. }) => {
            failpoint!("booking.release.released");
            state.store.finish_release(booking).await?;
            failpoint!("booking.release.stored");
            Ok(())
        }
        Ok(reservation) => {
            tracing::error!(booking_id = booking.id, ?reservation, "seats were not released");
            Ok(state.store.postpone_booking(booking.id).await?)
        }
        Err(failure) => {
            tracing::warn!(booking_id = booking.id, %failure, "seats not released yet");
            Ok(state.store.postpone_booking(booking.id).await?)
        }
    }
}
