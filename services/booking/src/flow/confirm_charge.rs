//! Confirms the charge of a stored attempt: the gateway moves the money.

use platform::failpoint;

use super::{Run, StepOutcome};
use crate::{
    clients::gateway::GatewayFailure,
    domain::{
        payment::{CARD_DECLINED, PAYMENT_METHOD_INVALID},
        saga::KnownCharge,
    },
    error::Interrupted,
};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let (attempt, charge_id) = (run.attempt()?, run.charge_id()?);
    let (payment_id, key) = (attempt.id, format!("{}-confirm", attempt.gateway_key));
    let confirmed = run.state.gateway.confirm_charge(&key, &charge_id, &attempt.payment_method).await;
    failpoint!("booking.pay.charged");
    match confirmed {
        Ok(charge) => Ok(run.charge_learned(&charge)),
        Err(GatewayFailure::Declined(reason)) => {
            run.failure = (CARD_DECLINED, reason);
            // Not cancelled at the gateway. Nobody else confirms this charge, and a retry under this key repeats the
            // decline, so it moves no money.
            Ok(run.learned(|known| known.charge = KnownCharge::Cancelled))
        }
        Err(failure) => {
            tracing::warn!(payment_id, %failure, "the charge has to be fetched");
            if matches!(&failure, GatewayFailure::Refused { parameter, .. }
                if parameter.as_deref() == Some("payment_method"))
            {
                run.failure = (PAYMENT_METHOD_INVALID, "the payment provider does not know this method".to_owned());
            }
            Ok(run.learned(|known| known.charge = KnownCharge::Unknown))
        }
    }
}
