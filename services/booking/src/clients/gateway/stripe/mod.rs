//! Stripe's API (<https://docs.stripe.com/api>): PaymentIntents, refunds, signed webhooks. Requests are form-encoded,
//! responses are JSON.

mod objects;

use std::time::Duration;

use anyhow::Context;
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use contracts::payment::Provider;
use platform::{
    client::WithContext,
    config::Secret,
    retry::{Backoff, retry_until},
};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use self::objects::{ErrorBody, ErrorResponse, Event, Intent, IntentList, RefundBody};
use super::{
    ChargePage, GatewayFailure, GatewayRefund, GatewayRefundState, GatewayResult, InvalidSignature, NewCharge,
    PaymentGateway, signature,
};
use crate::domain::charge::Charge;

/// The API version that the types below belong to.
const API_VERSION: &str = "2024-06-20";
/// The pauses between two attempts of a call.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
/// Charges per page, the most that Stripe allows.
const LIST_LIMIT: &str = "100";

/// A client of Stripe's API.
pub struct Stripe {
    http: Client,
    base: String,
    provider: Provider,
    timeout: Duration,
    api_key: Secret,
    webhook_secret: Secret,
}

impl Stripe {
    /// The API of `provider` at the base URL `base`, with `timeout` for each call.
    pub fn new(
        http: Client,
        base: &str,
        provider: Provider,
        api_key: Secret,
        webhook_secret: Secret,
        timeout: Duration,
    ) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { http, base, provider, timeout, api_key, webhook_secret }
    }

    /// An amount in the provider's units, which differ from ISO 4217 for some currencies.
    fn units(&self, amount: i64, currency: &str) -> Result<String, GatewayFailure> {
        let units = self.provider.to_provider_units(amount, currency);
        units.map(|units| units.to_string()).ok_or_else(|| GatewayFailure::Refused {
            code: "amount_invalid".to_owned(),
            parameter: Some("amount".to_owned()),
            message: format!("{amount} minor units of {currency} are no amount of {}", self.provider),
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/v1/{path}", self.base))
            .timeout(self.timeout)
            .bearer_auth(self.api_key.expose())
            .header("stripe-version", API_VERSION)
            .with_context()
    }

    /// Repeats the call under the same key while its outcome is unknown, for two timeouts in all, so that a replica of
    /// the gateway that stops, or is slow once, does not fail a payment.
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        form: &[(&str, &str)],
    ) -> Result<T, GatewayFailure> {
        let deadline = Instant::now() + self.timeout * 2;
        let attempt = || {
            let timeout = self.timeout.min(deadline.saturating_duration_since(Instant::now()));
            let request = self.request(Method::POST, path).header("idempotency-key", key).form(form);
            call(request.timeout(timeout))
        };
        let is_unknown = |failure: &GatewayFailure| matches!(failure, GatewayFailure::Unknown(_));
        retry_until(deadline, BACKOFF, is_unknown, attempt).await
    }
}

async fn call<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, GatewayFailure> {
    let unknown = |error: reqwest::Error| GatewayFailure::Unknown(error.without_url().into());
    let response = request.send().await.map_err(unknown)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unknown)?;
    if status.is_success() {
        let parsed = serde_json::from_slice(&body).context("the gateway's response does not parse");
        return parsed.map_err(GatewayFailure::Unknown);
    }
    let error = serde_json::from_slice::<ErrorResponse>(&body).map(|response| response.error).unwrap_or_default();
    Err(failure(status, error))
}

fn failure(status: StatusCode, error: ErrorBody) -> GatewayFailure {
    let message = error.reason();
    let code = error.code.unwrap_or_else(|| error.kind.clone());
    match status {
        StatusCode::PAYMENT_REQUIRED => GatewayFailure::Declined(message),
        // Another request under the same key is running, there are too many requests, or a proxy answers: nothing is
        // decided.
        StatusCode::CONFLICT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => GatewayFailure::Unknown(anyhow::anyhow!("{status}: {message}")),
        // Our API key is wrong, not the payment: the payer may retry once that is fixed.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => GatewayFailure::Failed(format!("{status}: {message}")),
        status if status.is_client_error() => GatewayFailure::Refused { code, parameter: error.param, message },
        status => GatewayFailure::Failed(format!("{status}: {message}")),
    }
}

impl PaymentGateway for Stripe {
    fn create_charge<'a>(&'a self, key: &'a str, charge: NewCharge<'a>) -> GatewayResult<'a, Charge> {
        Box::pin(async move {
            let form = [
                ("amount", self.units(charge.amount, charge.currency)?),
                ("currency", charge.currency.to_lowercase()),
                ("payment_method_types[]", "card".to_owned()),
                ("metadata[booking_id]", charge.booking_id.to_string()),
            ];
            let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            self.post::<Intent>("payment_intents", key, &form).await.map(Into::into)
        })
    }

    fn confirm_charge<'a>(
        &'a self,
        key: &'a str,
        charge_id: &'a str,
        payment_method: &'a str,
    ) -> GatewayResult<'a, Charge> {
        Box::pin(async move {
            // A method that needs further action by the customer is declined: there is no page for that yet.
            let form = [("payment_method", payment_method), ("error_on_requires_action", "true")];
            let path = format!("payment_intents/{charge_id}/confirm");
            self.post::<Intent>(&path, key, &form).await.map(Into::into)
        })
    }

    fn fetch_charge<'a>(&'a self, charge_id: &'a str) -> GatewayResult<'a, Charge> {
        Box::pin(async move {
            let path = format!("payment_intents/{charge_id}");
            call::<Intent>(self.request(Method::GET, &path)).await.map(Into::into)
        })
    }

    fn list_charges<'a>(&'a self, since: DateTime<Utc>, after: Option<&'a str>) -> GatewayResult<'a, ChargePage> {
        Box::pin(async move {
            let since = since.timestamp().to_string();
            let mut query = vec![("limit", LIST_LIMIT), ("created[gte]", since.as_str())];
            query.extend(after.map(|after| ("starting_after", after)));
            let list = call::<IntentList>(self.request(Method::GET, "payment_intents").query(&query)).await?;
            Ok(list.into_page(self.provider))
        })
    }

    fn cancel_charge<'a>(&'a self, charge_id: &'a str) -> GatewayResult<'a, Charge> {
        Box::pin(async move {
            // Needs no key: cancelling twice is refused, and the caller then fetches the charge.
            let path = format!("payment_intents/{charge_id}/cancel");
            let form = [("cancellation_reason", "abandoned")];
            call::<Intent>(self.request(Method::POST, &path).form(&form)).await.map(Into::into)
        })
    }

    fn refund_charge<'a>(
        &'a self,
        key: &'a str,
        charge_id: &'a str,
        amount: i64,
        currency: &'a str,
    ) -> GatewayResult<'a, GatewayRefund> {
        Box::pin(async move {
            let units = self.units(amount, currency)?;
            let mut form = vec![("payment_intent", charge_id)];
            // Without an amount Stripe refunds the whole charge. For currencies with other units the amount is omitted,
            // because charges of an earlier version have different ones.
            if units == amount.to_string() {
                form.push(("amount", units.as_str()));
            }
            match self.post::<RefundBody>("refunds", key, &form).await {
                Err(GatewayFailure::Refused { code, .. }) if code == "charge_already_refunded" => {
                    Ok(GatewayRefund { id: None, state: GatewayRefundState::Succeeded })
                }
                result => result.map(Into::into),
            }
        })
    }

    fn fetch_refund<'a>(&'a self, refund_id: &'a str) -> GatewayResult<'a, GatewayRefund> {
        Box::pin(async move {
            let path = format!("refunds/{refund_id}");
            call::<RefundBody>(self.request(Method::GET, &path)).await.map(Into::into)
        })
    }

    fn parse_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<String>, InvalidSignature> {
        let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
        let header = header.ok_or(InvalidSignature("there is no Stripe-Signature"))?;
        signature::verify(header, body, self.webhook_secret.expose(), now)?;
        let Ok(event) = serde_json::from_slice::<Event>(body) else { return Ok(None) };
        let object = event.data.object;
        let is_intent = object.object.as_deref() == Some("payment_intent");
        let charge = if is_intent { object.id } else { object.payment_intent };
        // Any other text is no id of ours, and the database might refuse it.
        Ok(charge.filter(|id| (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())))
    }
}
