//! Stores a new reservation id for a charged booking, because a released one cannot be used again.

use platform::failpoint;
use uuid::Uuid;

use super::{Run, StepOutcome};
use crate::error::Interrupted;

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    run.state.store.replace_reservation(&run.record.booking, Uuid::new_v4()).await?;
    failpoint!("booking.settle.renewed");
    Ok(StepOutcome::Stale)
}
