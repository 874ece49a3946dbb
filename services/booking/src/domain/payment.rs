//! Attempts to pay and refunds, and what clients see of them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::status::{AttemptState, RefundReason, RefundState};

/// `failure_code` of an attempt that ended before anything could be charged: the same request may try again.
pub const FAILED_BEFORE_CHARGE: &str = "payment_failed_before_charge";
/// `failure_code` of an attempt that the gateway declined.
pub const CARD_DECLINED: &str = "card_declined";
/// `failure_code` of an attempt whose payment method the gateway does not know.
pub const PAYMENT_METHOD_INVALID: &str = "payment_method_invalid";

/// `failure_code` of an attempt that the gateway refused to make a charge for.
pub const PAYMENT_REFUSED: &str = "payment_refused";

/// An attempt to pay.
#[derive(Clone, Debug)]
pub struct Payment {
    /// Its number.
    pub id: i32,
    /// What it pays.
    pub booking_id: i32,
    /// Prefix of the idempotency keys that the gateway is called with.
    pub gateway_key: Uuid,
    /// The gateway's name for the charge; without one nothing was charged.
    pub gateway_id: Option<String>,
    /// The gateway's token for the card or the like.
    pub payment_method: String,
    /// Where it stands.
    pub state: AttemptState,
    /// Why it failed.
    pub failure_code: Option<String>,
    /// The same in words.
    pub failure_message: Option<String>,
    /// Minor units of `currency`.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// When the booking took notice of the money.
    pub settled_at: Option<DateTime<Utc>>,
    /// Where the refund of it stands, if one is ordered.
    pub refund_state: Option<RefundState>,
    /// Why that refund was ordered.
    pub refund_reason: Option<RefundReason>,
}

/// What a client sees of an attempt.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PaymentPhase {
    /// Not decided yet: ask again.
    Processing,
    /// Charged, and the seats are sold.
    Succeeded,
    /// Not charged, and it never will be.
    Failed,
    /// Charged and given back.
    Refunded,
}

impl Payment {
    /// What a client sees. Money that bought no seat is processing until it is back.
    pub fn phase(&self) -> PaymentPhase {
        let bought_nothing = self.settled_at.is_none() || self.refund_reason == Some(RefundReason::SeatsLost);
        match self.state {
            AttemptState::Failed => PaymentPhase::Failed,
            AttemptState::Refunded => PaymentPhase::Refunded,
            AttemptState::Started => PaymentPhase::Processing,
            AttemptState::Succeeded if bought_nothing => PaymentPhase::Processing,
            AttemptState::Succeeded => PaymentPhase::Succeeded,
        }
    }
}

/// An order to give money back.
#[derive(Clone, Debug)]
pub struct Refund {
    /// Its number.
    pub id: i32,
    /// What is given back.
    pub payment_id: i32,
    /// The booking that was paid.
    pub booking_id: i32,
    /// Minor units.
    pub amount: i64,
    /// Where it stands.
    pub state: RefundState,
    /// The gateway's name for it.
    pub gateway_refund_id: Option<String>,
    /// Grows when the gateway answered that it failed.
    pub key_version: i32,
}

impl Refund {
    /// The idempotency key that the gateway is called with.
    pub fn gateway_key(&self) -> String {
        match self.key_version {
            0 => format!("refund-{}", self.payment_id),
            version => format!("refund-{}-{version}", self.payment_id),
        }
    }
}
