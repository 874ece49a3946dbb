//! Stripe's API (<https://docs.stripe.com/api>): PaymentIntents, refunds, signed webhooks; also spoken by the mock
//! gateway. Form-encoded requests, JSON answers.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use contracts::payment::Provider;
use platform::{client::WithContext, config::Secret};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    Charge, ChargePage, ChargeState, Forged, GatewayFailure, GatewayRefund, GatewayRefundState, GatewayResult,
    ListedCharge, Order, PaymentGateway, signature,
};

/// The version of the API that the types below were written for.
const API_VERSION: &str = "2024-06-20";
/// First pause between two calls under one key.
const PAUSE: Duration = Duration::from_millis(50);
/// Charges of one list: the most that Stripe gives.
const LIST_LIMIT: &str = "100";

/// Stripe, or whoever speaks its API at another address.
pub struct Stripe {
    http: Client,
    base: String,
    provider: Provider,
    timeout: Duration,
    api_key: Secret,
    webhook_secret: Secret,
}

impl Stripe {
    /// The API of `provider` at `base`; each call takes `timeout` at most.
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

    /// An amount in the provider's units.
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

    /// Does something once for each key: while its outcome is unknown the call is made again, for two timeouts in all.
    /// So a replica of the gateway that goes, or is slow once, does not fail a payment.
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        form: &[(&str, &str)],
    ) -> Result<T, GatewayFailure> {
        let deadline = Instant::now() + self.timeout * 2;
        let mut pause = PAUSE;
        loop {
            let timeout = self.timeout.min(deadline.saturating_duration_since(Instant::now()));
            let request = self.request(Method::POST, path).header("idempotency-key", key).form(form);
            let result = call(request.timeout(timeout)).await;
            if !matches!(result, Err(GatewayFailure::Unknown(_))) || Instant::now() + pause >= deadline {
                return result;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

#[derive(Deserialize)]
struct Intent {
    id: String,
    status: String,
    last_payment_error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct IntentList {
    data: Vec<ListedIntent>,
    has_more: bool,
}

#[derive(Deserialize)]
struct ListedIntent {
    #[serde(flatten)]
    intent: Intent,
    amount: i64,
    currency: String,
    #[serde(default)]
    metadata: HashMap<String, String>,
}

#[derive(Deserialize)]
struct RefundBody {
    id: String,
    status: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    error: ErrorBody,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(default, rename = "type")]
    kind: String,
    code: Option<String>,
    decline_code: Option<String>,
    message: Option<String>,
    param: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    object: EventObject,
}

#[derive(Deserialize)]
struct EventObject {
    id: Option<String>,
    object: Option<String>,
    payment_intent: Option<String>,
}

impl ErrorBody {
    fn reason(&self) -> String {
        let word = self.decline_code.as_ref().or(self.code.as_ref());
        self.message.clone().or_else(|| word.cloned()).unwrap_or_else(|| "the payment was declined".to_owned())
    }
}

impl From<Intent> for Charge {
    fn from(intent: Intent) -> Self {
        let state = match intent.status.as_str() {
            "succeeded" => ChargeState::Succeeded,
            "canceled" => ChargeState::Cancelled,
            "requires_payment_method" | "requires_confirmation" | "requires_action" | "requires_capture" => {
                ChargeState::Open
            }
            // `processing`, and whatever is added to the API: not decided as far as we can tell.
            _ => ChargeState::Processing,
        };
        let decline = intent.last_payment_error.filter(|error| error.kind == "card_error").map(|e| e.reason());
        Self { id: intent.id, state, decline }
    }
}

impl IntentList {
    fn into_page(self, provider: Provider) -> ChargePage {
        let last = self.data.last().map(|listed| listed.intent.id.clone());
        // Whatever else the account is used for carries no booking.
        let ours = self.data.into_iter().filter_map(|ListedIntent { intent, amount, currency, metadata }| {
            let booking_id = metadata.get("booking_id")?.parse().ok()?;
            let amount = provider.from_provider_units(amount, &currency.to_uppercase());
            Some(ListedCharge { charge: intent.into(), amount, booking_id })
        });
        ChargePage { charges: ours.collect(), next_after: last.filter(|_| self.has_more) }
    }
}

impl From<RefundBody> for GatewayRefund {
    fn from(refund: RefundBody) -> Self {
        let state = match refund.status.as_deref() {
            Some("succeeded") => GatewayRefundState::Succeeded,
            Some("failed" | "canceled") => GatewayRefundState::Failed,
            _ => GatewayRefundState::Pending,
        };
        Self { id: Some(refund.id), state }
    }
}

async fn call<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, GatewayFailure> {
    let unknown = |error: reqwest::Error| GatewayFailure::Unknown(error.without_url().into());
    let response = request.send().await.map_err(unknown)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unknown)?;
    if status.is_success() {
        let parsed = serde_json::from_slice(&body).context("the gateway's answer does not parse");
        return parsed.map_err(GatewayFailure::Unknown);
    }
    let error = serde_json::from_slice::<Problem>(&body).map(|problem| problem.error).unwrap_or_default();
    Err(failure(status, error))
}

fn failure(status: StatusCode, error: ErrorBody) -> GatewayFailure {
    let message = error.reason();
    let code = error.code.unwrap_or_else(|| error.kind.clone());
    match status {
        StatusCode::PAYMENT_REQUIRED => GatewayFailure::Declined(message),
        // Another request under the same key is running, there are too many of them, or who answers is only on the way
        // to the gateway: nothing is decided.
        StatusCode::CONFLICT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => GatewayFailure::Unknown(anyhow::anyhow!("{status}: {message}")),
        // Our key is at fault, not the payment: whoever pays may try again once that is mended.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => GatewayFailure::Failed(format!("{status}: {message}")),
        status if status.is_client_error() => GatewayFailure::Refused { code, parameter: error.param, message },
        status => GatewayFailure::Failed(format!("{status}: {message}")),
    }
}

impl PaymentGateway for Stripe {
    fn create<'a>(&'a self, key: &'a str, order: Order<'a>) -> GatewayResult<'a, Charge> {
        Box::pin(async move {
            let form = [
                ("amount", self.units(order.amount, order.currency)?),
                ("currency", order.currency.to_lowercase()),
                ("payment_method_types[]", "card".to_owned()),
                ("metadata[booking_id]", order.booking_id.to_string()),
                ("metadata[payment_id]", order.payment_id.to_string()),
            ];
            let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            self.post::<Intent>("payment_intents", key, &form).await.map(Into::into)
        })
    }

    fn confirm<'a>(&'a self, key: &'a str, charge_id: &'a str, payment_method: &'a str) -> GatewayResult<'a, Charge> {
        Box::pin(async move {
            // A method that needs the customer's further action is declined: there is no page for that yet.
            let form = [("payment_method", payment_method), ("error_on_requires_action", "true")];
            let path = format!("payment_intents/{charge_id}/confirm");
            self.post::<Intent>(&path, key, &form).await.map(Into::into)
        })
    }

    fn find<'a>(&'a self, charge_id: &'a str) -> GatewayResult<'a, Charge> {
        Box::pin(async move {
            let path = format!("payment_intents/{charge_id}");
            call::<Intent>(self.request(Method::GET, &path)).await.map(Into::into)
        })
    }

    fn list<'a>(&'a self, since: DateTime<Utc>, after: Option<&'a str>) -> GatewayResult<'a, ChargePage> {
        Box::pin(async move {
            let since = since.timestamp().to_string();
            let mut query = vec![("limit", LIST_LIMIT), ("created[gte]", since.as_str())];
            query.extend(after.map(|after| ("starting_after", after)));
            let list = call::<IntentList>(self.request(Method::GET, "payment_intents").query(&query)).await?;
            Ok(list.into_page(self.provider))
        })
    }

    fn cancel<'a>(&'a self, charge_id: &'a str) -> GatewayResult<'a, Charge> {
        Box::pin(async move {
            // Without a key: cancelling twice is refused, and the look-up after it tells.
            let path = format!("payment_intents/{charge_id}/cancel");
            let form = [("cancellation_reason", "abandoned")];
            call::<Intent>(self.request(Method::POST, &path).form(&form)).await.map(Into::into)
        })
    }

    fn refund<'a>(
        &'a self,
        key: &'a str,
        charge_id: &'a str,
        amount: i64,
        currency: &'a str,
    ) -> GatewayResult<'a, GatewayRefund> {
        Box::pin(async move {
            let units = self.units(amount, currency)?;
            let mut form = vec![("payment_intent", charge_id)];
            // A refund is of the whole charge, which Stripe takes if no amount is given. Charges that an earlier version
            // made have other units in these currencies.
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

    fn find_refund<'a>(&'a self, refund_id: &'a str) -> GatewayResult<'a, GatewayRefund> {
        Box::pin(async move {
            let path = format!("refunds/{refund_id}");
            call::<RefundBody>(self.request(Method::GET, &path)).await.map(Into::into)
        })
    }

    fn read_webhook(&self, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<Option<String>, Forged> {
        let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
        let header = header.ok_or(Forged("there is no Stripe-Signature"))?;
        signature::verify(header, body, self.webhook_secret.expose(), now)?;
        let Ok(event) = serde_json::from_slice::<Event>(body) else { return Ok(None) };
        let object = event.data.object;
        let is_intent = object.object.as_deref() == Some("payment_intent");
        let charge = if is_intent { object.id } else { object.payment_intent };
        // An invalid id names no charge of ours, and the database might refuse the text.
        Ok(charge.filter(|id| (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())))
    }
}
