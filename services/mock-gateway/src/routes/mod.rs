//! The whole URL table. Unknown routes and methods get errors of Stripe's shape too.

mod control;
mod execute;
mod params;
mod payment_intents;
mod refunds;
mod request;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri},
    middleware::{Next, from_fn},
    response::Response,
    routing::{any, get, post},
};

use self::request::RequestId;
use crate::{error::StripeError, state::AppState, store::new_id};

pub fn router(state: AppState) -> Router {
    Router::new()
        .route(
            "/v1/payment_intents",
            get(payment_intents::list_payment_intents).post(payment_intents::create_payment_intent),
        )
        .route("/v1/payment_intents/{id}", get(payment_intents::retrieve_payment_intent))
        .route("/v1/payment_intents/{id}/confirm", post(payment_intents::confirm_payment_intent))
        .route("/v1/payment_intents/{id}/cancel", post(payment_intents::cancel_payment_intent))
        .route("/v1/refunds", get(refunds::list_refunds).post(refunds::create_refund))
        .route("/v1/refunds/{id}", get(refunds::retrieve_refund))
        .route("/control/faults", get(control::list_faults).put(control::replace_faults).delete(control::clear_faults))
        .route("/control/ledger", get(control::list_ledger))
        // Not a fallback: `platform` replaces fallbacks by one with another shape of errors.
        .route("/", any(unrecognized))
        .route("/{*path}", any(unrecognized))
        .method_not_allowed_fallback(unrecognized)
        .layer(from_fn(with_request_id))
        .with_state(state)
}

async fn unrecognized(method: Method, uri: Uri) -> StripeError {
    let message = format!("Unrecognized request URL ({method}: {}).", uri.path());
    StripeError::invalid_request(message).with_status(StatusCode::NOT_FOUND)
}

async fn with_request_id(mut request: Request, next: Next) -> Response {
    let id = new_id("req");
    let value = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    if let Ok(value) = value {
        response.headers_mut().insert(HeaderName::from_static("request-id"), value);
    }
    response
}
