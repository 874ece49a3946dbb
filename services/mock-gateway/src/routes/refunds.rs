//! Refunds: list, create, retrieve.

use axum::{extract::State, response::Response};

use super::{
    execute::{execute, read},
    params::{Params, truncate},
    request::{ApiKey, FormRequest, Id},
};
use crate::{
    domain::{Refusal, intent::NewRefund, objects},
    error::{StripeError, StripeResult},
    flow::commands::Command,
    state::AppState,
};

pub(super) async fn list_refunds(
    State(state): State<AppState>,
    _: ApiKey,
    mut params: Params,
) -> StripeResult<Response> {
    let limit = params.integer("limit", 1, 100)?.unwrap_or(10);
    let (intent, after) = (params.text("payment_intent")?, params.text("starting_after")?);
    params.finish()?;
    read(&state, intent.as_deref(), async {
        let mut refunds = state.store.list_refunds(intent.as_deref(), after.as_deref(), limit).await?;
        let has_more = truncate(&mut refunds, limit);
        let data: Vec<_> = refunds.iter().map(objects::refund).collect();
        Ok(objects::list("/v1/refunds", &data, has_more))
    })
    .await
}

pub(super) async fn create_refund(
    State(state): State<AppState>,
    _: ApiKey,
    request: FormRequest,
) -> StripeResult<Response> {
    let (identity, mut params) = request.into_parts()?;
    let new = NewRefund {
        payment_intent: params.required("payment_intent")?,
        amount: params.integer("amount", 1, i64::MAX)?,
        reason: params.text("reason")?,
        metadata: params.metadata()?,
    };
    if let Some(reason) = &new.reason
        && !matches!(reason.as_str(), "duplicate" | "fraudulent" | "requested_by_customer")
    {
        return Err(StripeError::invalid_request(format!("Invalid reason: {reason}")).with_param("reason"));
    }
    params.finish()?;
    execute(&state, identity, Command::Refund(new)).await
}

pub(super) async fn retrieve_refund(State(state): State<AppState>, _: ApiKey, Id(id): Id) -> StripeResult<Response> {
    let refund = state.store.find_refund(&id).await?;
    let intent = refund.as_ref().map(|refund| refund.payment_intent.clone());
    read(&state, intent.as_deref(), async {
        Ok(objects::refund(&refund.ok_or_else(|| Refusal::NoSuchRefund(id.clone()))?))
    })
    .await
}
