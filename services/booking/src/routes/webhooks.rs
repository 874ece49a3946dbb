//! What the payment company tells by itself. It is believed no further than that it is worth a look: the charge it
//! names is looked up at the gateway by a sweeper, so duplicates and reorderings change nothing.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use platform::{
    ApiError, ApiResult,
    extract::{Path, RawBody},
    failpoint,
};

use crate::state::AppState;

/// Takes notice of a signed webhook of the configured provider.
pub(super) async fn receive_webhook(
    State(state): State<AppState>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<StatusCode> {
    if provider != state.policy.provider.as_str() {
        return Err(ApiError::not_found("provider_not_found", "no such payment provider is configured here"));
    }
    let charge = state.gateway.read_webhook(&headers, &body, state.clock.now());
    let charge = charge.map_err(|forged| ApiError::bad_request("invalid_signature", forged.to_string()))?;
    if let Some(charge) = charge {
        state.store.check_charge_soon(&charge).await?;
        failpoint!("booking.webhook.noticed");
        state.payments_wake.notify_one();
    }
    Ok(StatusCode::OK)
}
