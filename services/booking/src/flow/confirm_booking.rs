//! Confirms a booking whose seats are confirmed, and settles the attempt that paid for it.

use contracts::message::Message;
use platform::failpoint;

use super::{Run, StepOutcome, count_booking};
use crate::error::Interrupted;

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let paid_by = run.paid_by();
    let mut unit = run.state.store.begin().await?;
    let confirmed = unit.apply(&run.record.booking.confirm()?, paid_by, None).await?;
    let Some(confirmed) = confirmed else { return Ok(StepOutcome::Stale) };
    unit.enqueue(&Message::BookingConfirmed(confirmed.booking.fact(run.state.clock.now()))).await?;
    let outcome = run.commit(unit, confirmed).await?;
    failpoint!("booking.settle.stored");
    count_booking("confirmed");
    Ok(outcome)
}
