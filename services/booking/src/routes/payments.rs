//! Payments: bookings are paid by their owners.

use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as ApiResponse, StatusCode as ApiStatus},
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
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
    domain::{Payment, PaymentPhase},
    error::{booking_not_found, payment_not_found},
    flow,
    state::AppState,
};

/// Which payment.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct PaymentPath {
    /// The payment's number.
    id: i32,
}

/// What to pay, and how.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreatePayment {
    /// One of your Pending bookings.
    booking_id: i32,
    /// The payment company's token for a card or the like, such as `pm_card_visa`.
    payment_method: String,
}

/// How browsers make a `payment_method`.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct PaymentConfigResponse {
    /// `mock`: one of the mock gateway's test cards. `stripe`: by Stripe's own form, from Stripe.js.
    provider: &'static str,
    /// What Stripe.js is started with; absent with the mock.
    #[serde(skip_serializing_if = "Option::is_none")]
    publishable_key: Option<String>,
}

/// An attempt to pay.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct PaymentResponse {
    /// Its number.
    id: i32,
    /// What it pays.
    booking_id: i32,
    /// Where it stands.
    status: PaymentPhase,
    /// Minor units of `currency`.
    amount: i64,
    /// ISO 4217.
    currency: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<PaymentFailure>,
}

/// Why a payment failed.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct PaymentFailure {
    /// Stable word.
    code: String,
    /// For people.
    message: String,
}

/// 201 with a payment that is decided, 202 with one to be asked for again.
#[derive(Debug)]
pub(super) struct PaymentAnswer(PaymentResponse);

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

impl IntoResponse for PaymentAnswer {
    fn into_response(self) -> Response {
        let status = if self.0.status == PaymentPhase::Processing { StatusCode::ACCEPTED } else { StatusCode::CREATED };
        (status, Json(self.0)).into_response()
    }
}

impl OperationOutput for PaymentAnswer {
    type Inner = PaymentResponse;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        Json::<PaymentResponse>::operation_response(ctx, operation)
    }

    fn inferred_responses(ctx: &mut GenContext, operation: &mut Operation) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        let response = Self::operation_response(ctx, operation);
        let with_status = |code| response.clone().map(|response| (Some(ApiStatus::Code(code)), response));
        [201, 202].into_iter().filter_map(with_status).collect()
    }
}

impl CreatePayment {
    fn validate(&self) -> ApiResult<()> {
        let method = &self.payment_method;
        if (1..=255).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(());
        }
        let message = "take the payment company's token, 1 to 255 visible ASCII characters";
        Err(ApiError::invalid(vec![FieldError::new("payment_method", message)]))
    }
}

/// Charges the price of a Pending booking: Confirmed and Paid, or Failed, or still processing.
pub(super) async fn create_payment(
    State(state): State<AppState>,
    user: AuthUser,
    key: IdempotencyKey,
    body: JsonBody<CreatePayment>,
) -> ApiResult<Replayable<PaymentAnswer>> {
    let body = body.parse()?;
    // Somebody else's booking is not there, whatever else is wrong.
    state.store.find_booking_of(user.user_id, body.booking_id).await?.ok_or_else(booking_not_found)?;
    body.validate()?;
    let idempotency = state.idempotency.clone();
    let CreatePayment { booking_id, payment_method } = body.clone();
    idempotency::run(&idempotency, key, user.user_id, &body, move |operation_id| async move {
        let payment = flow::pay::pay(&state, user.user_id, booking_id, &payment_method, operation_id).await?;
        Ok(PaymentAnswer(payment.into()))
    })
    .await
}

/// Nothing of it is secret, so anybody may ask.
pub(super) async fn get_config(State(state): State<AppState>) -> Json<PaymentConfigResponse> {
    let provider = state.policy.provider.as_str();
    Json(PaymentConfigResponse { provider, publishable_key: state.publishable_key.as_deref().map(str::to_owned) })
}

pub(super) async fn get_payment(
    State(state): State<AppState>,
    user: AuthUser,
    Path(PaymentPath { id }): Path<PaymentPath>,
) -> ApiResult<Json<PaymentResponse>> {
    let payment = state.store.find_payment_of(user.user_id, id).await?.ok_or_else(payment_not_found)?;
    Ok(Json(payment.into()))
}
