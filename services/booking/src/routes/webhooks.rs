//! Webhooks of the payment provider. A webhook only makes a sweeper fetch the charge that it names; nothing else in it is
//! trusted, so duplicates and reordering have no effect.

use aide::NoApi;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
};
use platform::{
    ApiError, ApiResult,
    extract::{Path, RawBody},
    failpoint,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::state::AppState;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ProviderPath {
    /// The configured provider, such as `stripe`.
    provider: String,
}

/// Verifies the signature and schedules a check of the charge. Events about unknown charges are accepted too.
pub(super) async fn receive_webhook(
    State(state): State<AppState>,
    Path(ProviderPath { provider }): Path<ProviderPath>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> ApiResult<NoApi<StatusCode>> {
    if provider != state.policy.provider.as_str() {
        return Err(ApiError::not_found("provider_not_found", "no such payment provider is configured here"));
    }
    let charge = state.gateway.parse_webhook(&headers, &body, state.clock.now());
    let charge = charge.map_err(|invalid| ApiError::bad_request("invalid_signature", invalid.to_string()))?;
    if let Some(charge) = charge {
        let due = state.store.schedule_charge_check(&charge).await?;
        failpoint!("booking.webhook.noticed");
        if due {
            state.sweep.notify_one();
        }
    }
    Ok(NoApi(StatusCode::OK))
}
