//! Carries out a refund that was ordered: requests it from the gateway, or fetches one that is pending there.
//!
//! A new idempotency key after a reported failure cannot refund twice: the gateway returns no more than it captured.

use contracts::message::Message;
use platform::failpoint;

use super::{Run, StepOutcome};
use crate::{
    clients::gateway::{GatewayFailure, GatewayRefund, GatewayRefundState},
    domain::{AttemptState, PaymentStatus, Refund, RefundState},
    error::Interrupted,
};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let (state, refund) = (run.state, run.refund()?.clone());
    let refund_id = refund.id;
    let result = call_gateway(run, &refund).await?;
    failpoint!("booking.refund.asked");
    match result {
        Ok(GatewayRefund { state: GatewayRefundState::Succeeded, id }) => {
            return store_refunded(run, refund, id).await;
        }
        Ok(GatewayRefund { state: GatewayRefundState::Pending, id }) => {
            if let Some(id) = id {
                state.store.attach_refund_id(refund_id, &id).await?;
            }
        }
        Ok(GatewayRefund { state: GatewayRefundState::Failed, .. }) => {
            tracing::error!(refund_id, "the gateway could not refund; retrying with a new key");
            state.store.renew_refund_key(&refund).await?;
        }
        Err(failure @ (GatewayFailure::Failed(_) | GatewayFailure::Refused { .. })) => {
            if matches!(failure, GatewayFailure::Refused { .. }) {
                tracing::error!(refund_id, %failure, "the gateway refuses the refund");
            } else {
                tracing::warn!(refund_id, %failure, "refund not done yet");
            }
            if refund.gateway_refund_id.is_none() {
                state.store.renew_refund_key(&refund).await?;
                failpoint!("booking.refund.renewed");
            }
        }
        Err(failure @ (GatewayFailure::Unknown(_) | GatewayFailure::Declined(_))) => {
            tracing::warn!(refund_id, %failure, "refund not done yet");
        }
    }
    Ok(run.learned(|known| known.gateway_silent = true))
}

async fn call_gateway(run: &Run<'_>, refund: &Refund) -> Result<Result<GatewayRefund, GatewayFailure>, Interrupted> {
    let gateway = &run.state.gateway;
    if let Some(id) = &refund.gateway_refund_id {
        return Ok(gateway.fetch_refund(id).await);
    }
    let (charge, currency) = (run.charge_id()?, &run.attempt()?.currency);
    Ok(gateway.refund_charge(&refund.gateway_key(), &charge, refund.amount, currency).await)
}

/// Stores the outcome in one transaction: booking, attempt, refund and the message to the owner.
async fn store_refunded(run: &Run<'_>, refund: Refund, id: Option<String>) -> Result<StepOutcome, Interrupted> {
    let mut unit = run.state.store.begin().await?;
    let change = run.record.booking.pay(PaymentStatus::Refunded)?;
    let Some(booking) = unit.apply_payment(&change).await? else { return Ok(StepOutcome::Stale) };
    if !unit.finish_refund(&refund, id.as_deref()).await? {
        return Ok(StepOutcome::Stale);
    }
    unit.enqueue(&Message::BookingRefunded(booking.fact(run.state.clock.now()))).await?;
    let mut record = run.record.clone();
    record.booking = booking;
    record.refund = Some(Refund { state: RefundState::Succeeded, ..refund });
    if let Some(attempt) = &mut record.attempt {
        attempt.state = AttemptState::Refunded;
    }
    let outcome = run.commit(unit, record).await?;
    failpoint!("booking.refund.stored");
    metrics::counter!("eventplatform_refunds_total").increment(1);
    Ok(outcome)
}
