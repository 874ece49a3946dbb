//! What the payment company tells by itself. It is believed no further than that it is worth a look: the charge it
//! names is looked up at the gateway by a sweeper, so duplicates and reorderings change nothing.

use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as ApiResponse, StatusCode as ApiStatus},
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use platform::{
    ApiError, ApiResult,
    extract::{Path, RawBody},
    failpoint,
};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::state::AppState;

/// Which payment company.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ProviderPath {
    /// The configured provider, such as `stripe`.
    provider: String,
}

/// 200 without a body.
pub(super) struct Noticed;

/// Takes notice of a signed webhook of the configured provider.
pub(super) async fn receive_webhook(
    State(state): State<AppState>,
    Path(ProviderPath { provider }): Path<ProviderPath>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<Noticed> {
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
    Ok(Noticed)
}

impl IntoResponse for Noticed {
    fn into_response(self) -> Response {
        StatusCode::OK.into_response()
    }
}

impl OperationOutput for Noticed {
    type Inner = Self;

    fn inferred_responses(_ctx: &mut GenContext, _operation: &mut Operation) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        let response = ApiResponse { description: "The event was accepted.".to_owned(), ..ApiResponse::default() };
        vec![(Some(ApiStatus::Code(200)), response)]
    }
}
