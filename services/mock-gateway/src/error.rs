//! Refusals in Stripe's shape: `{"error": {"type", "code", "message", "param", …}}`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use platform::{ApiError, postgres};
use serde::Serialize;
use serde_json::Value;

use crate::{
    domain::{Refusal, intent::PaymentIntent, objects},
    store::is_lock_timeout,
};

/// The result of a handler.
pub type StripeResult<T> = Result<T, StripeError>;

/// An HTTP status with Stripe's error object.
#[derive(Debug)]
pub struct StripeError {
    status: StatusCode,
    body: Box<ErrorBody>,
}

/// Stripe's error object.
#[derive(Debug, Default, Serialize)]
struct ErrorBody {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'static str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_intent: Option<Value>,
}

impl StripeError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, body: Box::new(ErrorBody { kind, message: message.into(), ..ErrorBody::default() }) }
    }

    /// 400: the request is invalid.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// 401: the API key is missing or wrong.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::invalid_request(message).with_status(StatusCode::UNAUTHORIZED)
    }

    /// 400: the idempotency key is invalid, or was used for another request.
    pub fn idempotency(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "idempotency_error", message)
    }

    /// 500: an error of the gateway.
    pub fn api_error(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "api_error", message)
    }

    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.body.code = Some(code);
        self
    }

    /// Names the invalid parameter.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.body.param = Some(param.into());
        self
    }

    fn with_intent(mut self, intent: &PaymentIntent) -> Self {
        self.body.payment_intent = Some(objects::payment_intent(intent));
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body of the response.
    pub fn to_json(&self) -> Value {
        serde_json::json!({ "error": self.body })
    }
}

impl IntoResponse for StripeError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.to_json())).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"Stripe\""));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Refusal> for StripeError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let unexpected_state = |intent: &PaymentIntent, message| {
            Self::invalid_request(message).with_code("payment_intent_unexpected_state").with_intent(intent)
        };
        let missing = |param, message| Self::invalid_request(message).with_code("resource_missing").with_param(param);
        match refusal {
            Refusal::NoSuchPaymentIntent(_) => missing("intent", message).with_status(StatusCode::NOT_FOUND),
            Refusal::NoSuchRefund(_) => missing("refund", message).with_status(StatusCode::NOT_FOUND),
            Refusal::UnknownPaymentIntent(_) => missing("payment_intent", message),
            Refusal::NoSuchPaymentMethod(_) => missing("payment_method", message),
            Refusal::MissingPaymentMethod(intent)
            | Refusal::AlreadySucceeded(intent)
            | Refusal::NotConfirmable(intent)
            | Refusal::NotCancelable(intent) => unexpected_state(&intent, message),
            Refusal::Declined(intent) => declined(&intent, message),
            Refusal::ProcessorFailed => Self::api_error(message),
            Refusal::NothingToRefund(_) => Self::invalid_request(message).with_code("payment_intent_unexpected_state"),
            Refusal::AlreadyRefunded(_) => Self::invalid_request(message).with_code("charge_already_refunded"),
            Refusal::RefundTooLarge { .. } => Self::invalid_request(message).with_param("amount"),
        }
    }
}

fn declined(intent: &PaymentIntent, message: String) -> StripeError {
    let mut error = StripeError::new(StatusCode::PAYMENT_REQUIRED, "card_error", message);
    error.body.code = Some("card_declined");
    error.body.decline_code = Some("generic_decline");
    error.body.charge.clone_from(&intent.latest_charge);
    error.with_intent(intent)
}

impl From<sqlx::Error> for StripeError {
    /// 429 after a lock timeout, 503 without an answer of the database, 400 for a value that it cannot store, else 500.
    fn from(cause: sqlx::Error) -> Self {
        if is_lock_timeout(&cause) {
            let message = "This object cannot be accessed right now because another API request or Stripe process is \
                           currently accessing it.";
            let busy = Self::invalid_request(message).with_code("lock_timeout");
            return busy.with_status(StatusCode::TOO_MANY_REQUESTS);
        }
        if postgres::is_unavailable(&cause) {
            tracing::warn!(%cause, "the database does not answer");
            let message = "The mock gateway's database does not answer; try again.";
            return Self::api_error(message).with_status(StatusCode::SERVICE_UNAVAILABLE);
        }
        if postgres::is_unstorable_value(&cause) {
            tracing::warn!(%cause, "the database cannot store a value of the request");
            return Self::invalid_request("Invalid request: a text or number in it cannot be stored.");
        }
        tracing::error!(%cause, "request failed");
        Self::api_error("Something went wrong in the mock gateway.")
    }
}

impl From<ApiError> for StripeError {
    /// Errors of the shared extractors: bodies that are too large or incomplete.
    fn from(error: ApiError) -> Self {
        Self::invalid_request(error.problem().detail).with_status(error.status())
    }
}
