//! Stores that an attempt failed: its charge is cancelled or was never created.

use platform::failpoint;

use super::{Run, StepOutcome, count_payment};
use crate::{
    domain::payment::{CARD_DECLINED, PAYMENT_REFUSED},
    error::Interrupted,
};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let attempt = run.attempt()?;
    let (code, message) = &run.failure;
    let mut unit = run.state.store.begin().await?;
    let failed = unit.store_failed(attempt, code, message, attempt.gateway_id.is_none()).await?;
    let Some(record) = failed else { return Ok(StepOutcome::Stale) };
    let outcome = run.commit(unit, record).await?;
    failpoint!("booking.pay.failed");
    count_payment(match *code {
        CARD_DECLINED => "declined",
        PAYMENT_REFUSED => "refused",
        _ => "failed_before_charge",
    });
    Ok(outcome)
}
