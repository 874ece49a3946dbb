//! Rejects a booking whose hold stayed unknown, and releases the reservation: its tombstone stops a hold that arrives late.

use platform::failpoint;

use super::{Run, StepOutcome, count_booking};
use crate::{domain::Rejection, error::Interrupted, state::INLINE_LEASE};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let detail = "the seats could not be held in time".to_owned();
    let change = run.record.booking.reject(Rejection { code: "event_service_unavailable", detail })?.with_release();
    let mut unit = run.state.store.begin().await?;
    let rejected = unit.apply(&change, None, Some(INLINE_LEASE)).await?;
    // The hold may have been stored after the booking was read.
    let Some(rejected) = rejected.filter(|record| record.booking.expires_at.is_none()) else {
        return Ok(StepOutcome::Stale);
    };
    let outcome = run.commit(unit, rejected).await?;
    failpoint!("booking.hold.given_up");
    count_booking("given_up");
    Ok(outcome)
}
