//! Pays a booking: creates a charge, stores the attempt with its id, and runs the saga, which confirms the charge.
//!
//! The charge is created before the attempt is stored, because that moves no money. A charge is confirmed only after its
//! id is stored, so that its outcome can always be found out.

use axum::response::Response;
use platform::{ApiResult, failpoint, idempotency::IdempotentRequest};
use uuid::Uuid;

use super::{Reply, Run};
use crate::{
    clients::gateway::{GatewayFailure, NewCharge},
    domain::{
        Booking, BookingStatus, PayRefusal, Payment, PaymentPhase, RefundReason,
        payment::{FAILED_BEFORE_CHARGE, PAYMENT_REFUSED},
        saga::{KnownCharge, SagaRecord},
    },
    error::{Interrupted, payment_failed, payment_too_late, session_over},
    state::AppState,
    store::NewAttempt,
};

/// Pays a booking of its owner, or continues an interrupted run of the same operation. The returned attempt may still be
/// processing. `None` if the request's key is taken, or the booking cannot be paid and the key is not claimed.
pub async fn pay(
    state: &AppState,
    saga: SagaRecord,
    payment_method: &str,
    request: &IdempotentRequest,
    respond: &(dyn Fn(&SagaRecord) -> Response + Send + Sync),
) -> ApiResult<Option<Payment>> {
    let reply = Reply { request, respond };
    let mut run = if let Some(payment) = earlier_attempt(state, request).await? {
        let mut run = Run::for_request(state, SagaRecord { attempt: Some(payment), ..saga }, Some(reply));
        run.known.charge = KnownCharge::Unconfirmed;
        run
    } else {
        match start(state, saga, payment_method, request, reply).await? {
            Some(run) => run,
            None => return Ok(None),
        }
    };
    let payment_id = run.attempt()?.id;
    run.drive().await?;
    let payment = match run.record.attempt.take().filter(|payment| payment.id == payment_id) {
        Some(payment) => payment,
        None => state.store.find_payment(payment_id).await?.ok_or(Interrupted::Inconsistent("a payment vanished"))?,
    };
    check(payment, &run.record.booking).map(Some)
}

/// The attempt, if the request succeeded.
pub fn check(payment: Payment, booking: &Booking) -> ApiResult<Payment> {
    let seats_lost = payment.refund_reason == Some(RefundReason::SeatsLost);
    match payment.phase() {
        PaymentPhase::Failed => Err(payment_failed(&payment)),
        PaymentPhase::Processing | PaymentPhase::Refunded if seats_lost => Err(payment_too_late(booking)),
        PaymentPhase::Refunded if booking.status != BookingStatus::Confirmed => Err(payment_too_late(booking)),
        PaymentPhase::Processing | PaymentPhase::Succeeded | PaymentPhase::Refunded => Ok(payment),
    }
}

async fn earlier_attempt(state: &AppState, request: &IdempotentRequest) -> sqlx::Result<Option<Payment>> {
    if request.scope().is_none() || request.to_claim().is_some() {
        return Ok(None);
    }
    state.store.find_attempt_by_operation(request.operation_id()).await
}

/// Creates a charge and stores the attempt. Stores an attempt without a charge, which then fails, if the gateway did not
/// create one.
async fn start<'a>(
    state: &'a AppState,
    saga: SagaRecord,
    payment_method: &str,
    request: &IdempotentRequest,
    reply: Reply<'a>,
) -> ApiResult<Option<Run<'a>>> {
    let price = saga.may_pay();
    // An earlier request with this key may have made the attempt, or may have its refusal as the answer.
    if request.to_claim().is_some() && (saga.attempt.is_some() || price.is_err()) {
        return Ok(None);
    }
    let (amount, currency) = price?;
    // The same for a retry, and another one after an attempt that failed.
    let latest = saga.attempt.as_ref().map_or(0, |attempt| attempt.id);
    let gateway_key = Uuid::new_v5(&request.stable_id(), &latest.to_be_bytes());
    let new = NewCharge { booking_id: saga.booking.id, amount, currency };
    let created = state.gateway.create_charge(&format!("{gateway_key}-create"), new).await;
    failpoint!("booking.pay.created");
    let (charge, failure) = match created {
        Ok(charge) => (Some(charge.id), FAILED_BEFORE_CHARGE),
        Err(failure) => {
            // Even if the charge was created: without confirmation it moves no money.
            tracing::warn!(booking_id = saga.booking.id, %failure, "the charge could not be created");
            let refused = matches!(failure, GatewayFailure::Refused { .. });
            (None, if refused { PAYMENT_REFUSED } else { FAILED_BEFORE_CHARGE })
        }
    };
    let attempt = NewAttempt {
        user_id: saga.booking.user_id,
        booking_id: saga.booking.id,
        gateway_key,
        gateway_id: charge.as_deref(),
        payment_method,
        amount,
        currency,
    };
    let Some(record) = state.store.insert_attempt(attempt, request).await? else {
        if request.to_claim().is_some() {
            return Ok(None);
        }
        if state.store.is_account_deleted(saga.booking.user_id).await? {
            return Err(session_over());
        }
        let saga = state.store.find_saga(saga.booking.id).await?;
        let saga = saga.ok_or(Interrupted::Inconsistent("a booking vanished"))?;
        return Err(saga.may_pay().err().unwrap_or(PayRefusal::InProgress).into());
    };
    failpoint!("booking.pay.written");
    let mut run = Run::for_request(state, record, Some(reply));
    run.known.charge = KnownCharge::Unconfirmed;
    if charge.is_none() {
        run.failure = (failure, "the payment provider did not take the payment".to_owned());
    }
    Ok(Some(run))
}
