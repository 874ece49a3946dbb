//! What Stripe has not: orders to misbehave, and the ledger for those who check. Guarded by the same API key.

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
};
use platform::extract::RawBody;
use serde_json::{Value, json};

use crate::{
    call::{ApiKey, Params},
    domain::fault::parse_rules,
    error::{StripeError, StripeResult},
    state::AppState,
    store::money::LedgerWindow,
};

/// The rules in their order, each with how often it still applies.
pub(super) async fn list_faults(State(state): State<AppState>, _: ApiKey) -> StripeResult<Json<Value>> {
    let rules = state.store.list_rules().await?;
    let shown = rules.iter().map(|stored| {
        let rule = &stored.rule;
        json!({
            "match": rule.matching, "times": rule.times, "action": rule.action, "remaining": stored.remaining
        })
    });
    Ok(Json(shown.collect()))
}

/// Replaces all rules by the list in the body, and shows them.
pub(super) async fn replace_faults(
    state: State<AppState>,
    key: ApiKey,
    body: Result<RawBody, platform::ApiError>,
) -> StripeResult<Json<Value>> {
    let rules = parse_rules(&body?.0).map_err(StripeError::invalid_request)?;
    state.store.replace_rules(&rules).await?;
    tracing::info!(rules = rules.len(), "told how to misbehave");
    list_faults(state, key).await
}

/// Behaves from now on.
pub(super) async fn clear_faults(State(state): State<AppState>, _: ApiKey) -> StripeResult<StatusCode> {
    state.store.replace_rules(&[]).await?;
    tracing::info!("told to behave");
    Ok(StatusCode::NO_CONTENT)
}

/// Movements of money, oldest first.
pub(super) async fn list_ledger(
    State(state): State<AppState>,
    _: ApiKey,
    RawQuery(query): RawQuery,
) -> StripeResult<Json<Value>> {
    let mut params = Params::parse(query.unwrap_or_default().as_bytes());
    let window = LedgerWindow {
        booking_id: params.text("booking_id")?,
        payment_intent: params.text("payment_intent")?,
        after: params.integer("cursor", 0, i64::MAX)?.unwrap_or(0),
        limit: params.integer("limit", 1, 1000)?.unwrap_or(100),
    };
    params.finish()?;
    let mut items = state.store.list_ledger(&window).await?;
    let limit = usize::try_from(window.limit).unwrap_or(0);
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Json(json!({ "items": items, "next_cursor": next_cursor })))
}
