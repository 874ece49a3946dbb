//! Holds seats for a charged booking under its new reservation id, which no hold succeeded under yet.

use platform::failpoint;

use super::{Run, StepOutcome, confirm_seats::refused, hold_seats::request_hold};
use crate::{clients::event_service::CallFailure, domain::saga::KnownReservation, error::Interrupted};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let (state, booking) = (run.state, &run.record.booking);
    match state.events.retry_until_conclusive(|| request_hold(state, booking, true)).await.1 {
        Ok(_) => {
            failpoint!("booking.settle.held_again");
            Ok(run.learned(|known| known.reservation = KnownReservation::Unknown))
        }
        Err(CallFailure::Refused { refusal, .. }) => Ok(run.learned(|known| known.reservation = refused(refusal))),
        Err(failure) => Ok(run.event_service_silent(failure)),
    }
}
