//! Asks event-service to confirm the reservation of a booking that is charged or free.

use platform::failpoint;

use super::{Run, StepOutcome};
use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::saga::KnownReservation,
    error::Interrupted,
};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let (state, booking) = (run.state, &run.record.booking);
    let confirm = || state.events.confirm(&booking.event_id, booking.reservation_id);
    match state.events.retry_until_conclusive(confirm).await.1 {
        Ok(()) => {
            failpoint!("booking.settle.sold");
            Ok(run.learned(|known| known.reservation = KnownReservation::Confirmed))
        }
        Err(CallFailure::Refused { refusal, .. }) => Ok(run.learned(|known| known.reservation = refused(refusal))),
        Err(failure) => Ok(run.event_service_silent(failure)),
    }
}

/// What a refusal says about the reservation.
pub(super) fn refused(refusal: Refusal) -> KnownReservation {
    match refusal {
        Refusal::ReservationReleased => KnownReservation::Released,
        Refusal::ReservationNotFound => KnownReservation::Missing,
        Refusal::EventCancelled | Refusal::EventNotFound => KnownReservation::EventGone,
        _ => KnownReservation::SoldOut,
    }
}
