//! Expires a Pending booking whose hold is over. Only event-service decides whether it is.

use contracts::{message::Message, reservation::ReservationState};
use platform::failpoint;

use super::{Run, StepOutcome, count_booking};
use crate::{
    clients::event_service::{CallFailure, Refusal},
    error::Interrupted,
};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let (state, booking) = (run.state, &run.record.booking);
    match state.events.release(&booking.event_id, booking.reservation_id, true).await {
        Ok(ReservationState::Released) | Err(CallFailure::Refused { refusal: Refusal::EventNotFound, .. }) => {
            failpoint!("booking.expire.released");
        }
        // Still held by its clock, or confirmed by a payment that is about to be stored.
        Ok(reservation @ (ReservationState::Held | ReservationState::Confirmed)) => {
            tracing::debug!(booking_id = booking.id, ?reservation, "event-service has not released the hold");
            return Ok(run.learned(|known| known.event_service_silent = true));
        }
        Err(failure) => return Ok(run.event_service_silent(failure)),
    }
    let mut unit = state.store.begin().await?;
    let Some(expired) = unit.apply(&booking.expire()?, None, None).await? else { return Ok(StepOutcome::Stale) };
    unit.enqueue(&Message::BookingExpired(expired.booking.fact(state.clock.now()))).await?;
    let outcome = run.commit(unit, expired).await?;
    failpoint!("booking.expire.stored");
    count_booking("expired");
    Ok(outcome)
}
