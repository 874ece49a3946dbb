//! The control API, which Stripe does not have: fault rules and the ledger, for tests. It requires the same API key.

use axum::{Json, extract::State, http::StatusCode};
use platform::extract::RawBody;
use serde_json::{Value, json};

use super::{
    params::{Params, truncate},
    request::ApiKey,
};
use crate::{
    cache,
    domain::fault::{Rule, parse_rules},
    error::{StripeError, StripeResult},
    state::AppState,
    store::money::LedgerWindow,
};

/// Lists the rules with their remaining uses.
pub(super) async fn list_faults(State(state): State<AppState>, _: ApiKey) -> StripeResult<Json<Value>> {
    let rules = state.store.list_rules().await?;
    let items = rules.iter().map(|stored| {
        let rule = &stored.rule;
        json!({
            "match": rule.matching, "times": rule.times, "action": rule.action, "remaining": stored.remaining
        })
    });
    Ok(Json(items.collect()))
}

/// Replaces all rules, and lists them.
pub(super) async fn replace_faults(
    state: State<AppState>,
    key: ApiKey,
    body: Result<RawBody, platform::ApiError>,
) -> StripeResult<Json<Value>> {
    let rules = parse_rules(&body?.0).map_err(StripeError::invalid_request)?;
    replace(&state, &rules).await?;
    list_faults(state, key).await
}

pub(super) async fn clear_faults(State(state): State<AppState>, _: ApiKey) -> StripeResult<StatusCode> {
    replace(&state, &[]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns when every replica applies the new rules.
async fn replace(state: &AppState, rules: &[Rule]) -> sqlx::Result<()> {
    state.store.replace_rules(rules).await?;
    tokio::time::sleep(cache::MAX_AGE).await;
    tracing::info!(rules = rules.len(), "fault rules replaced");
    Ok(())
}

/// Lists movements of money, oldest first.
pub(super) async fn list_ledger(
    State(state): State<AppState>,
    _: ApiKey,
    mut params: Params,
) -> StripeResult<Json<Value>> {
    let window = LedgerWindow {
        booking_id: params.text("booking_id")?,
        payment_intent: params.text("payment_intent")?,
        after: params.integer("cursor", 0, i64::MAX)?.unwrap_or(0),
        limit: params.integer("limit", 1, 1000)?.unwrap_or(100),
    };
    params.finish()?;
    let mut items = state.store.list_ledger(&window).await?;
    let has_more = truncate(&mut items, window.limit);
    let next_cursor = items.last().filter(|_| has_more).map(|last| last.id.to_string());
    Ok(Json(json!({ "items": items, "next_cursor": next_cursor })))
}
