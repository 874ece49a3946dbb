//! Carries out refunds that other steps ordered: requests them from the gateway and stores the outcome.

use contracts::message::Message;
use platform::failpoint;

use crate::{
    clients::gateway::{GatewayFailure, GatewayRefund, GatewayRefundState},
    domain::{PaymentStatus, Refund, RefundState},
    error::Interrupted,
    state::AppState,
};

/// Requests a refund from the gateway, or fetches one that is pending there; postpones it unless it is done.
///
/// A new idempotency key after a reported failure cannot refund twice: the gateway returns no more than it captured.
pub async fn execute(state: &AppState, refund: &Refund) -> Result<(), Interrupted> {
    if refund.state == RefundState::Succeeded {
        return Ok(());
    }
    let result = call_gateway(state, refund).await?;
    failpoint!("booking.refund.asked");
    let refund_id = refund.id;
    match result {
        Ok(GatewayRefund { state: GatewayRefundState::Succeeded, id }) => {
            return store_refunded(state, refund, id.as_deref()).await;
        }
        Ok(GatewayRefund { state: GatewayRefundState::Pending, id }) => {
            if let Some(id) = id {
                state.store.attach_refund_id(refund.id, &id).await?;
            }
        }
        Ok(GatewayRefund { state: GatewayRefundState::Failed, .. }) => {
            tracing::error!(refund_id, "the gateway could not refund; retrying with a new key");
            state.store.renew_refund_key(refund).await?;
        }
        Err(failure @ (GatewayFailure::Failed(_) | GatewayFailure::Refused { .. })) => {
            if matches!(failure, GatewayFailure::Refused { .. }) {
                tracing::error!(refund_id, %failure, "the gateway refuses the refund");
            } else {
                tracing::warn!(refund_id, %failure, "refund not done yet");
            }
            if refund.gateway_refund_id.is_none() {
                state.store.renew_refund_key(refund).await?;
                failpoint!("booking.refund.renewed");
            }
        }
        Err(failure @ (GatewayFailure::Unknown(_) | GatewayFailure::Declined(_))) => {
            tracing::warn!(refund_id, %failure, "refund not done yet");
        }
    }
    Ok(state.store.postpone_refund(refund.id).await?)
}

async fn call_gateway(state: &AppState, refund: &Refund) -> Result<Result<GatewayRefund, GatewayFailure>, Interrupted> {
    if let Some(id) = &refund.gateway_refund_id {
        return Ok(state.gateway.fetch_refund(id).await);
    }
    let payment = state.store.find_payment(refund.payment_id).await?;
    let charge = payment.and_then(|payment| Some((payment.gateway_id?, payment.currency)));
    let (charge, currency) = charge.ok_or(Interrupted::Inconsistent("a refund of what was never charged"))?;
    Ok(state.gateway.refund_charge(&refund.gateway_key(), &charge, refund.amount, &currency).await)
}

/// Stores the outcome in one transaction: booking, attempt, refund and the message to the owner.
async fn store_refunded(state: &AppState, refund: &Refund, id: Option<&str>) -> Result<(), Interrupted> {
    loop {
        let booking = state.store.find_booking(refund.booking_id).await?;
        let booking = booking.ok_or(Interrupted::Inconsistent("a refund without a booking"))?;
        if booking.payment_status == PaymentStatus::Refunded {
            return Ok(());
        }
        let mut unit = state.store.begin().await?;
        let Some(refunded) = unit.apply_payment(&booking.pay(PaymentStatus::Refunded)?).await? else { continue };
        if !unit.finish_refund(refund, id).await? {
            return Ok(());
        }
        unit.enqueue(&Message::BookingRefunded(refunded.fact(state.clock.now()))).await?;
        unit.commit().await?;
        failpoint!("booking.refund.stored");
        state.relay_wake.notify_one();
        metrics::counter!("eventplatform_refunds_total").increment(1);
        return Ok(());
    }
}
