//! Payment intents: list, create, retrieve, confirm, cancel.

use axum::{extract::State, response::Response};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    execute::{execute, read},
    params::{Params, missing, truncate},
    request::{ApiKey, FormRequest, Id},
};
use crate::{
    domain::{PaymentMethod, Refusal, intent::NewPaymentIntent, objects},
    error::{StripeError, StripeResult},
    flow::commands::Command,
    state::AppState,
    store::intents::ListWindow,
};

/// Stripe's limit, in minor units.
const MAX_AMOUNT: i64 = 99_999_999;
/// The last second of the year 9999, which PostgreSQL and chrono can represent.
const MAX_TIME: i64 = 253_402_300_799;

/// Parameters of Stripe's that have no effect here.
const IGNORED: [&str; 12] = [
    "automatic_payment_methods",
    "confirmation_method",
    "customer",
    "error_on_requires_action",
    "off_session",
    "payment_method_options",
    "return_url",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
    "use_stripe_sdk",
];

pub(super) async fn list_payment_intents(
    State(state): State<AppState>,
    _: ApiKey,
    mut params: Params,
) -> StripeResult<Response> {
    let window = list_window(&mut params)?;
    params.finish()?;
    read(&state, None, async {
        let mut intents = state.store.list_intents(&window).await?;
        let has_more = truncate(&mut intents, window.limit);
        let data: Vec<_> = intents.iter().map(objects::payment_intent).collect();
        Ok(objects::list("/v1/payment_intents", &data, has_more))
    })
    .await
}

fn list_window(params: &mut Params) -> StripeResult<ListWindow> {
    let limit = params.integer("limit", 1, 100)?.unwrap_or(10);
    let starting_after = params.text("starting_after")?;
    // Objects have whole seconds, so `gt` and `lte` compare seconds.
    let after = seconds(params, "created[gt]", 1)?;
    let from = seconds(params, "created[gte]", 0)?.max(after);
    let through = seconds(params, "created[lte]", 1)?;
    let before = [seconds(params, "created[lt]", 0)?, through].into_iter().flatten().min();
    Ok(ListWindow { limit, starting_after, created_from: from, created_before: before })
}

/// The instant that is `later` seconds after the second in a parameter.
fn seconds(params: &mut Params, name: &str, later: i64) -> StripeResult<Option<DateTime<Utc>>> {
    let second = params.integer(name, 0, MAX_TIME)?.and_then(|second| DateTime::from_timestamp(second, 0));
    Ok(second.map(|second| second + TimeDelta::seconds(later)))
}

pub(super) async fn create_payment_intent(
    State(state): State<AppState>,
    _: ApiKey,
    request: FormRequest,
) -> StripeResult<Response> {
    let (identity, mut params) = request.into_parts()?;
    let new = new_payment_intent(&mut params)?;
    params.finish()?;
    execute(&state, identity, Command::Create(new)).await
}

fn new_payment_intent(params: &mut Params) -> StripeResult<NewPaymentIntent> {
    let amount = params.integer("amount", 1, MAX_AMOUNT)?;
    let currency = params.required("currency")?.to_ascii_lowercase();
    if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_lowercase()) {
        let message = format!("Invalid currency: {currency}.");
        return Err(StripeError::invalid_request(message).with_param("currency"));
    }
    let automatic_payment_methods = params.flag("automatic_payment_methods[enabled]")?;
    let mut payment_method_types = params.list("payment_method_types");
    if payment_method_types.is_empty() {
        payment_method_types.push("card".to_owned());
    }
    let capture_method = params.text("capture_method")?.unwrap_or_else(|| "automatic".to_owned());
    if !matches!(capture_method.as_str(), "automatic" | "automatic_async") {
        let message = "Invalid capture_method: this gateway captures at once.";
        return Err(StripeError::invalid_request(message).with_param("capture_method"));
    }
    let new = NewPaymentIntent {
        amount: amount.ok_or_else(|| missing("amount"))?,
        currency,
        payment_method: payment_method(params)?,
        payment_method_types,
        automatic_payment_methods,
        capture_method,
        description: params.text("description")?,
        receipt_email: params.text("receipt_email")?,
        metadata: params.metadata()?,
        confirm: params.flag("confirm")?,
    };
    params.ignore(&IGNORED);
    Ok(new)
}

fn payment_method(params: &mut Params) -> StripeResult<Option<PaymentMethod>> {
    let given = params.text("payment_method")?;
    Ok(given.as_deref().map(PaymentMethod::parse).transpose()?)
}

pub(super) async fn retrieve_payment_intent(
    State(state): State<AppState>,
    _: ApiKey,
    Id(id): Id,
    mut params: Params,
) -> StripeResult<Response> {
    params.ignore(&["client_secret"]);
    params.finish()?;
    read(&state, Some(&id), async {
        let intent = state.store.find_intent(&id).await?;
        Ok(objects::payment_intent(&intent.ok_or_else(|| Refusal::NoSuchPaymentIntent(id.clone()))?))
    })
    .await
}

pub(super) async fn confirm_payment_intent(
    State(state): State<AppState>,
    _: ApiKey,
    Id(intent): Id,
    request: FormRequest,
) -> StripeResult<Response> {
    let (identity, mut params) = request.into_parts()?;
    let payment_method = payment_method(&mut params)?;
    params.ignore(&IGNORED);
    params.finish()?;
    execute(&state, identity, Command::Confirm { intent, payment_method }).await
}

pub(super) async fn cancel_payment_intent(
    State(state): State<AppState>,
    _: ApiKey,
    Id(intent): Id,
    request: FormRequest,
) -> StripeResult<Response> {
    let (identity, mut params) = request.into_parts()?;
    let reason = params.text("cancellation_reason")?;
    if let Some(reason) = &reason
        && !matches!(reason.as_str(), "duplicate" | "fraudulent" | "requested_by_customer" | "abandoned")
    {
        let message = format!("Invalid cancellation_reason: {reason}");
        return Err(StripeError::invalid_request(message).with_param("cancellation_reason"));
    }
    params.finish()?;
    execute(&state, identity, Command::Cancel { intent, reason }).await
}
