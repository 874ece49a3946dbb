//! Releases the seats of a booking that ended, whatever the state of the reservation.

use contracts::reservation::ReservationState;
use platform::failpoint;

use super::{Run, StepOutcome};
use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::{Booking, saga::SagaRecord},
    error::Interrupted,
};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let (state, booking) = (run.state, &run.record.booking);
    let release = || state.events.release(&booking.event_id, booking.reservation_id, false);
    match state.events.retry_until_conclusive(release).await.1 {
        Ok(ReservationState::Released) | Err(CallFailure::Refused { refusal: Refusal::EventNotFound, .. }) => {
            failpoint!("booking.release.released");
            state.store.finish_release(booking).await?;
            failpoint!("booking.release.stored");
            let booking = Booking { release_pending: false, ..booking.clone() };
            Ok(StepOutcome::Stored(Box::new(SagaRecord { booking, ..run.record.clone() })))
        }
        Ok(reservation) => {
            tracing::error!(booking_id = booking.id, ?reservation, "seats were not released");
            Ok(run.learned(|known| known.event_service_silent = true))
        }
        Err(failure) => Ok(run.event_service_silent(failure)),
    }
}
