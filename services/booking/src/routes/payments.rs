//! Payments of bookings by their owners.

use aide::NoApi;
use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    error::FieldError,
    extract::{JsonBody, Path},
    idempotency::{self, IdempotencyKey, Replayable},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{Payment, PaymentPhase, saga::SagaRecord},
    error::{booking_not_found, payment_not_found},
    flow::pay,
    state::AppState,
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct PaymentPath {
    id: i32,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreatePayment {
    /// One of your Pending bookings.
    booking_id: i32,
    /// The payment provider's token of a card or another payment method, such as `pm_card_visa`.
    payment_method: String,
}

/// How a page creates a `payment_method`.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct PaymentConfigResponse {
    /// `mock`: one of the mock gateway's test cards. `stripe`: Stripe's form, from Stripe.js.
    provider: &'static str,
    /// Stripe's publishable key, for Stripe.js; absent with the mock.
    #[serde(skip_serializing_if = "Option::is_none")]
    publishable_key: Option<String>,
}

/// A payment attempt.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct PaymentResponse {
    id: i32,
    booking_id: i32,
    status: PaymentPhase,
    /// Minor units of `currency`.
    amount: i64,
    /// ISO 4217.
    currency: String,
    /// Present if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<PaymentFailure>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct PaymentFailure {
    /// Stable and machine-readable.
    code: String,
    message: String,
}

impl From<Payment> for PaymentResponse {
    fn from(payment: Payment) -> Self {
        let status = payment.phase();
        let failure = payment
            .failure_code
            .map(|code| PaymentFailure { code, message: payment.failure_message.unwrap_or_default() });
        let Payment { id, booking_id, amount, currency, .. } = payment;
        Self { id, booking_id, status, amount, currency, failure }
    }
}

impl CreatePayment {
    fn validate(&self) -> ApiResult<()> {
        let method = &self.payment_method;
        if (1..=255).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(());
        }
        let message = "must be the payment provider's token, 1 to 255 visible ASCII characters";
        Err(ApiError::invalid(vec![FieldError::new("payment_method", message)]))
    }
}

/// Charges the price of a Pending booking. 201 if the payment is decided, 202 if it is processing and must be polled.
pub(super) async fn create_payment(
    State(state): State<AppState>,
    user: AuthUser,
    key: IdempotencyKey,
    body: JsonBody<CreatePayment>,
) -> ApiResult<Replayable<NoApi<(StatusCode, Json<PaymentResponse>)>>> {
    let body = body.parse()?;
    // Another user's booking is 404, even if the body is invalid.
    let saga = state.store.find_user_saga(user.user_id, body.booking_id).await?.ok_or_else(booking_not_found)?;
    body.validate()?;
    let (idempotency, method) = (state.idempotency.clone(), body.payment_method.clone());
    idempotency::run_in_transactions(&idempotency, key, user.user_id, &body, move |request| {
        let (state, saga, method) = (state.clone(), saga.clone(), method.clone());
        Box::pin(async move {
            let respond = |saga: &SagaRecord| match &saga.attempt {
                Some(payment) => pay::check(payment.clone(), &saga.booking).map(respond_with).into_response(),
                None => payment_not_found().into_response(),
            };
            Ok(pay::pay(&state, saga, &method, &request, &respond).await?.map(|payment| NoApi(respond_with(payment))))
        })
    })
    .await
}

fn respond_with(payment: Payment) -> (StatusCode, Json<PaymentResponse>) {
    let payment = PaymentResponse::from(payment);
    let processing = payment.status == PaymentPhase::Processing;
    (if processing { StatusCode::ACCEPTED } else { StatusCode::CREATED }, Json(payment))
}

/// Needs no login: nothing of it is secret.
pub(super) async fn get_config(State(state): State<AppState>) -> Json<PaymentConfigResponse> {
    let provider = state.policy.provider.as_str();
    Json(PaymentConfigResponse { provider, publishable_key: state.publishable_key.as_deref().map(str::to_owned) })
}

pub(super) async fn get_payment(
    State(state): State<AppState>,
    user: AuthUser,
    Path(PaymentPath { id }): Path<PaymentPath>,
) -> ApiResult<Json<PaymentResponse>> {
    let payment = state.store.find_user_payment(user.user_id, id).await?.ok_or_else(payment_not_found)?;
    Ok(Json(payment.into()))
}
