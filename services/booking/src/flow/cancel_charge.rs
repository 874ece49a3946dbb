//! Cancels an open charge, so that it never moves money. This also fences off another worker that may confirm it.

use platform::failpoint;

use super::{Run, StepOutcome};
use crate::{clients::gateway::GatewayFailure, domain::saga::KnownCharge, error::Interrupted};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let charge_id = run.charge_id()?;
    let cancelled = run.state.gateway.cancel_charge(&charge_id).await;
    failpoint!("booking.pay.fenced");
    match cancelled {
        Ok(charge) => Ok(run.charge_learned(&charge)),
        // It changed meanwhile: captured, or cancelled by another worker.
        Err(GatewayFailure::Refused { .. }) => Ok(run.learned(|known| known.charge = KnownCharge::Unknown)),
        Err(failure) => {
            tracing::warn!(charge_id, %failure, "it is unknown whether the charge is cancelled");
            Ok(run.learned(|known| known.gateway_silent = true))
        }
    }
}
