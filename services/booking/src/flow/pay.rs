//! An attempt to pay: written first, then charged in two steps, and its outcome found out however long that takes.
//!
//! An attempt is stored as failed only when it is certain that it can never charge: it has no name at the gateway, it
//! was declined, or its charge is cancelled there. The last is also what keeps two workers on one attempt apart.

use platform::{ApiResult, failpoint, guard_removed};
use uuid::Uuid;

use super::settle;
use crate::{
    clients::gateway::{GatewayFailure, Order},
    domain::{
        AttemptState, Booking, BookingStatus, PayRefusal, Payment, PaymentPhase, RefundReason,
        charge::{Charge, ChargeState},
        payment::{CARD_DECLINED, FAILED_BEFORE_CHARGE, PAYMENT_METHOD_INVALID, PAYMENT_REFUSED},
    },
    error::{Interrupted, booking_not_found, payment_failed, payment_too_late},
    state::AppState,
    store::{NewAttempt, Started},
};

/// How often a charge is looked at before a sweeper takes over.
const LOOKS: u32 = 3;

/// Pays a booking of that user, or goes on with what an interrupted run of the same operation began. The answer may
/// be an attempt that is still processing.
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
    let (payment, booking) = found.ok_or(Interrupted::Broken("a payment vanished"))?;
    answer(payment, &booking)
}

fn answer(payment: Payment, booking: &Booking) -> ApiResult<Payment> {
    let lost = payment.refund_reason == Some(RefundReason::SeatsLost);
    match payment.phase() {
        PaymentPhase::Failed => Err(payment_failed(&payment)),
        PaymentPhase::Processing | PaymentPhase::Refunded if lost => Err(payment_too_late(booking)),
        PaymentPhase::Refunded if booking.status != BookingStatus::Confirmed => Err(payment_too_late(booking)),
        PaymentPhase::Processing | PaymentPhase::Succeeded | PaymentPhase::Refunded => Ok(payment),
    }
}

/// Writes the attempt, or finds the one that this operation wrote before.
async fn start(
    state: &AppState,
    user_id: i32,
    booking_id: i32,
    payment_method: &str,
    operation_id: Uuid,
) -> ApiResult<Payment> {
    let mut unit = state.store.begin().await?;
    let (booking, expired) = unit.lock_booking(user_id, booking_id).await?.ok_or_else(booking_not_found)?;
    if let Some(payment) = unit.find_attempt_of(operation_id).await? {
        return Ok(payment);
    }
    let live = unit.find_live_attempt(booking.id).await?;
    let live = live.is_some() && !guard_removed!("booking.one_live_payment");
    let (amount, currency) = booking.may_pay(live, expired)?;
    let attempt = NewAttempt { booking_id, operation_id, payment_method, amount, currency };
    match unit.insert_attempt(attempt).await? {
        Started::Refused => Err(PayRefusal::InProgress.into()),
        Started::New(payment) => {
            unit.commit().await?;
            failpoint!("booking.pay.written");
            Ok(payment)
        }
    }
}

/// Names the charge, moves the money, and finds out whether it moved.
async fn charge(state: &AppState, payment: &Payment) -> Result<(), Interrupted> {
    let Some(charge_id) = name(state, payment).await? else { return Ok(()) };
    let key = format!("{}-confirm", payment.gateway_key);
    let confirmed = state.gateway.confirm(&key, &charge_id, &payment.payment_method).await;
    failpoint!("booking.pay.charged");
    match confirmed {
        Ok(charge) => conclude(state, payment.id, charge, FAILED_BEFORE_CHARGE).await,
        Err(GatewayFailure::Declined(reason)) => store_failed(state, payment.id, CARD_DECLINED, &reason).await,
        Err(failure) => {
            tracing::warn!(payment_id = payment.id, %failure, "the charge has to be looked up");
            let invalid = matches!(&failure, GatewayFailure::Refused { parameter, .. }
                if parameter.as_deref() == Some("payment_method"));
            look_up(state, payment.id, &charge_id, if invalid { PAYMENT_METHOD_INVALID } else { FAILED_BEFORE_CHARGE })
                .await
        }
    }
}

/// The name of the charge, stored before anything can be charged under it. `None` if the attempt has ended.
async fn name(state: &AppState, payment: &Payment) -> Result<Option<String>, Interrupted> {
    if let Some(charge_id) = &payment.gateway_id {
        return Ok(Some(charge_id.clone()));
    }
    let key = format!("{}-create", payment.gateway_key);
    let order = Order {
        payment_id: payment.id,
        booking_id: payment.booking_id,
        amount: payment.amount,
        currency: &payment.currency,
    };
    match state.gateway.create(&key, order).await {
        Ok(charge) => {
            failpoint!("booking.pay.created");
            if guard_removed!("booking.name_before_charge") {
                return Ok(Some(charge.id));
            }
            let ours = state.store.name_charge(payment.id, &charge.id).await?;
            failpoint!("booking.pay.named");
            Ok(ours.then_some(charge.id))
        }
        Err(failure) => {
            // Whatever became of the call: a charge that nobody confirms moves no money.
            tracing::warn!(payment_id = payment.id, %failure, "the charge could not be named");
            let refused = matches!(failure, GatewayFailure::Refused { .. });
            give_up_unnamed(state, payment.id, if refused { PAYMENT_REFUSED } else { FAILED_BEFORE_CHARGE }).await?;
            Ok(None)
        }
    }
}

/// Ends a started attempt whose charge has no name, and so was never confirmed.
pub async fn give_up_unnamed(state: &AppState, payment_id: i32, code: &'static str) -> Result<(), Interrupted> {
    let message = "the payment company did not take the payment";
    if state.store.store_failed(payment_id, code, message, true).await? {
        failpoint!("booking.pay.unnamed");
        let outcome = if code == PAYMENT_REFUSED { "refused" } else { "failed_before_charge" };
        metrics::counter!("eventplatform_payments_total", "outcome" => outcome).increment(1);
    }
    Ok(())
}

/// Finds out what became of a charge and stores it; leaves it to a sweeper while that is not known.
///
/// `failure_code` is stored if it turns out that nothing was charged, and nothing was declined either.
pub async fn look_up(
    state: &AppState,
    payment_id: i32,
    charge_id: &str,
    failure_code: &'static str,
) -> Result<(), Interrupted> {
    match state.gateway.find(charge_id).await {
        Ok(charge) => conclude(state, payment_id, charge, failure_code).await,
        Err(failure) => {
            tracing::warn!(payment_id, %failure, "the charge could not be looked up yet");
            Ok(state.store.postpone_payment(payment_id).await?)
        }
    }
}

async fn conclude(
    state: &AppState,
    payment_id: i32,
    mut charge: Charge,
    failure_code: &'static str,
) -> Result<(), Interrupted> {
    let decline = charge.decline.clone();
    for _ in 0..LOOKS {
        match charge.state {
            ChargeState::Succeeded => {
                metrics::counter!("eventplatform_payments_total", "outcome" => "charged").increment(1);
                return settle::charged(state, payment_id).await;
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

/// Cancels a charge that moved no money, so that it never will; what it is now, or `None` if that is not known.
async fn fence(state: &AppState, charge_id: &str) -> Option<Charge> {
    if guard_removed!("booking.fence") {
        return Some(Charge { id: charge_id.to_owned(), state: ChargeState::Cancelled, decline: None });
    }
    let cancelled = state.gateway.cancel(charge_id).await;
    failpoint!("booking.pay.fenced");
    match cancelled {
        Ok(charge) => Some(charge),
        // It moved meanwhile: charged, or cancelled by another worker.
        Err(GatewayFailure::Refused { .. }) => state.gateway.find(charge_id).await.ok(),
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
