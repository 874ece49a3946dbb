//! A payment attempt is stored, charged in two steps, and followed until its outcome is known.
//!
//! An attempt is stored as failed only when it can certainly never charge: it has no charge id, it was declined, or its
//! charge is cancelled at the gateway. That cancellation also fences off a second worker on the same attempt.

use platform::{ApiResult, failpoint};
use uuid::Uuid;

use super::settle;
use crate::{
    clients::gateway::{GatewayFailure, NewCharge},
    domain::{
        AttemptState, Booking, BookingStatus, PayRefusal, Payment, PaymentPhase, RefundReason,
        charge::{Charge, ChargeState},
        payment::{CARD_DECLINED, FAILED_BEFORE_CHARGE, PAYMENT_METHOD_INVALID, PAYMENT_REFUSED},
    },
    error::{Interrupted, booking_not_found, payment_failed, payment_too_late},
    state::AppState,
    store::NewAttempt,
};

/// How often the state of a charge is examined before a sweeper takes over.
const MAX_LOOKUPS: u32 = 3;

/// Pays a booking of the user, or continues an interrupted run of the same operation. The returned attempt may still
/// be processing.
pub async fn pay(
    state: &AppState,
    user_id: i32,
    booking_id: i32,
    payment_method: &str,
    operation_id: Uuid,
) -> ApiResult<Payment> {
    let payment = start(state, user_id, booking_id, payment_method, operation_id).await?;
    match payment.state {
        AttemptState::Started => charge(state, &payment).await?,
        AttemptState::Succeeded => settle::settle(state, payment.id).await?,
        AttemptState::Failed | AttemptState::Refunded => {}
    }
    let found = state.store.find_payment_and_booking(payment.id).await?;
    let (payment, booking) = found.ok_or(Interrupted::Inconsistent("a payment vanished"))?;
    to_result(payment, &booking)
}

fn to_result(payment: Payment, booking: &Booking) -> ApiResult<Payment> {
    let seats_lost = payment.refund_reason == Some(RefundReason::SeatsLost);
    match payment.phase() {
        PaymentPhase::Failed => Err(payment_failed(&payment)),
        PaymentPhase::Processing | PaymentPhase::Refunded if seats_lost => Err(payment_too_late(booking)),
        PaymentPhase::Refunded if booking.status != BookingStatus::Confirmed => Err(payment_too_late(booking)),
        PaymentPhase::Processing | PaymentPhase::Succeeded | PaymentPhase::Refunded => Ok(payment),
    }
}

/// Stores the attempt, or finds the one that this operation stored before.
async fn start(
    state: &AppState,
    user_id: i32,
    booking_id: i32,
    payment_method: &str,
    operation_id: Uuid,
) -> ApiResult<Payment> {
    let mut unit = state.store.begin().await?;
    let (booking, expired) = unit.lock_booking(user_id, booking_id).await?.ok_or_else(booking_not_found)?;
    if let Some(payment) = unit.find_attempt_by_operation(operation_id).await? {
        return Ok(payment);
    }
    let active = unit.find_active_attempt(booking.id).await?.is_some();
    let (amount, currency) = booking.may_pay(active, expired)?;
    let attempt = NewAttempt { booking_id, operation_id, payment_method, amount, currency };
    let payment = unit.insert_attempt(attempt).await?.ok_or(PayRefusal::InProgress)?;
    unit.commit().await?;
    failpoint!("booking.pay.written");
    Ok(payment)
}

/// Creates the charge, confirms it, and finds out the outcome.
async fn charge(state: &AppState, payment: &Payment) -> Result<(), Interrupted> {
    let Some(charge_id) = create_charge(state, payment).await? else { return Ok(()) };
    let key = format!("{}-confirm", payment.gateway_key);
    let confirmed = state.gateway.confirm_charge(&key, &charge_id, &payment.payment_method).await;
    failpoint!("booking.pay.charged");
    match confirmed {
        Ok(charge) => apply_charge(state, payment.id, charge, FAILED_BEFORE_CHARGE).await,
        Err(GatewayFailure::Declined(reason)) => store_failed(state, payment.id, CARD_DECLINED, &reason).await,
        Err(failure) => {
            tracing::warn!(payment_id = payment.id, %failure, "the charge has to be fetched");
            let invalid = matches!(&failure, GatewayFailure::Refused { parameter, .. }
                if parameter.as_deref() == Some("payment_method"));
            fetch_charge(
                state,
                payment.id,
                &charge_id,
                if invalid { PAYMENT_METHOD_INVALID } else { FAILED_BEFORE_CHARGE },
            )
            .await
        }
    }
}

/// Creates the charge and stores its id, without which it is never confirmed. `None` if the attempt has ended.
async fn create_charge(state: &AppState, payment: &Payment) -> Result<Option<String>, Interrupted> {
    if let Some(charge_id) = &payment.gateway_id {
        return Ok(Some(charge_id.clone()));
    }
    let key = format!("{}-create", payment.gateway_key);
    let new = NewCharge {
        payment_id: payment.id,
        booking_id: payment.booking_id,
        amount: payment.amount,
        currency: &payment.currency,
    };
    match state.gateway.create_charge(&key, new).await {
        Ok(charge) => {
            failpoint!("booking.pay.created");
            let attached = state.store.attach_charge_id(payment.id, &charge.id).await?;
            failpoint!("booking.pay.named");
            Ok(attached.then_some(charge.id))
        }
        Err(failure) => {
            // Even if the charge was created: without confirmation it moves no money.
            tracing::warn!(payment_id = payment.id, %failure, "the charge could not be created");
            let refused = matches!(failure, GatewayFailure::Refused { .. });
            fail_without_charge(state, payment.id, if refused { PAYMENT_REFUSED } else { FAILED_BEFORE_CHARGE })
                .await?;
            Ok(None)
        }
    }
}

/// Fails a started attempt without a charge id, whose charge was never confirmed.
pub async fn fail_without_charge(state: &AppState, payment_id: i32, code: &'static str) -> Result<(), Interrupted> {
    let message = "the payment company did not take the payment";
    if state.store.store_failed(payment_id, code, message, true).await? {
        failpoint!("booking.pay.unnamed");
        let outcome = if code == PAYMENT_REFUSED { "refused" } else { "failed_before_charge" };
        metrics::counter!("eventplatform_payments_total", "outcome" => outcome).increment(1);
    }
    Ok(())
}

/// Fetches a charge and stores its outcome, or postpones the attempt while the outcome is unknown.
///
/// `failure_code` is stored if the charge was neither captured nor declined.
pub async fn fetch_charge(
    state: &AppState,
    payment_id: i32,
    charge_id: &str,
    failure_code: &'static str,
) -> Result<(), Interrupted> {
    match state.gateway.fetch_charge(charge_id).await {
        Ok(charge) => apply_charge(state, payment_id, charge, failure_code).await,
        Err(failure) => {
            tracing::warn!(payment_id, %failure, "the charge could not be fetched yet");
            Ok(state.store.postpone_payment(payment_id).await?)
        }
    }
}

/// Stores the outcome of a charge. An open charge is cancelled first, so that the outcome is final.
async fn apply_charge(
    state: &AppState,
    payment_id: i32,
    mut charge: Charge,
    failure_code: &'static str,
) -> Result<(), Interrupted> {
    let decline = charge.decline.clone();
    for _ in 0..MAX_LOOKUPS {
        match charge.state {
            ChargeState::Succeeded => {
                metrics::counter!("eventplatform_payments_total", "outcome" => "charged").increment(1);
                return settle::record_charge(state, payment_id).await;
            }
            ChargeState::Cancelled => {
                let (code, message) = match &decline {
                    Some(reason) => (CARD_DECLINED, reason.as_str()),
                    None if failure_code == PAYMENT_METHOD_INVALID => {
                        (failure_code, "the payment company does not know it")
                    }
                    None => (failure_code, "nothing was charged"),
                };
                return store_failed(state, payment_id, code, message).await;
            }
            ChargeState::Processing => break,
            ChargeState::Open => match fence(state, &charge.id).await {
                Some(next) => charge = next,
                None => break,
            },
        }
    }
    Ok(state.store.postpone_payment(payment_id).await?)
}

/// Cancels an open charge, so that it never moves money. Returns the charge, or `None` if its state is unknown.
async fn fence(state: &AppState, charge_id: &str) -> Option<Charge> {
    let cancelled = state.gateway.cancel_charge(charge_id).await;
    failpoint!("booking.pay.fenced");
    match cancelled {
        Ok(charge) => Some(charge),
        // It changed meanwhile: captured, or cancelled by another worker.
        Err(GatewayFailure::Refused { .. }) => state.gateway.fetch_charge(charge_id).await.ok(),
        Err(_) => None,
    }
}

async fn store_failed(state: &AppState, payment_id: i32, code: &'static str, message: &str) -> Result<(), Interrupted> {
    if state.store.store_failed(payment_id, code, message, false).await? {
        failpoint!("booking.pay.failed");
        let outcome = if code == CARD_DECLINED { "declined" } else { "failed_before_charge" };
        metrics::counter!("eventplatform_payments_total", "outcome" => outcome).increment(1);
    }
    Ok(())
}
