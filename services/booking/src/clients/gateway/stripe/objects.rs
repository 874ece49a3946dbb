//! The objects of Stripe's API, as far as they are used.

use std::collections::HashMap;

use contracts::payment::Provider;
use serde::Deserialize;

use crate::{
    clients::gateway::{ChargePage, GatewayRefund, GatewayRefundState},
    domain::charge::{Charge, ChargeState, ListedCharge},
};

#[derive(Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) last_payment_error: Option<ErrorBody>,
}

#[derive(Deserialize)]
pub(super) struct IntentList {
    pub(super) data: Vec<ListedIntent>,
    pub(super) has_more: bool,
}

#[derive(Deserialize)]
pub(super) struct ListedIntent {
    #[serde(flatten)]
    pub(super) intent: Intent,
    pub(super) amount: i64,
    pub(super) currency: String,
    #[serde(default)]
    pub(super) metadata: HashMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct RefundBody {
    pub(super) id: String,
    pub(super) status: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ErrorResponse {
    pub(super) error: ErrorBody,
}

#[derive(Default, Deserialize)]
pub(super) struct ErrorBody {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    pub(super) code: Option<String>,
    pub(super) decline_code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) param: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Event {
    pub(super) data: EventData,
}

#[derive(Deserialize)]
pub(super) struct EventData {
    pub(super) object: EventObject,
}

#[derive(Deserialize)]
pub(super) struct EventObject {
    pub(super) id: Option<String>,
    pub(super) object: Option<String>,
    pub(super) payment_intent: Option<String>,
}

impl ErrorBody {
    pub(super) fn reason(&self) -> String {
        let code = self.decline_code.as_ref().or(self.code.as_ref());
        self.message.clone().or_else(|| code.cloned()).unwrap_or_else(|| "the payment was declined".to_owned())
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
            // `processing`, and statuses that the API adds later: not decided as far as we know.
            _ => ChargeState::Processing,
        };
        let decline = intent.last_payment_error.filter(|error| error.kind == "card_error").map(|e| e.reason());
        Self { id: intent.id, state, decline }
    }
}

impl IntentList {
    pub(super) fn into_page(self, provider: Provider) -> ChargePage {
        let last = self.data.last().map(|listed| listed.intent.id.clone());
        // Other charges of the account have no booking id.
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
