//! Asks the gateway for the state of a charge.

use super::{Run, StepOutcome};
use crate::error::Interrupted;

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let charge_id = run.charge_id()?;
    match run.state.gateway.fetch_charge(&charge_id).await {
        Ok(charge) => Ok(run.charge_learned(&charge)),
        Err(failure) => {
            tracing::warn!(charge_id, %failure, "the state of the charge is unknown");
            Ok(run.learned(|known| known.gateway_silent = true))
        }
    }
}
