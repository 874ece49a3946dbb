//! Payment attempts, refunds, and what clients see of them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::status::{AttemptState, RefundReason, RefundState};

/// `failure_code` of an attempt that failed before anything could be charged: the same request may try again.
pub const FAILED_BEFORE_CHARGE: &str = "payment_failed_before_charge";
/// `failure_code` of an attempt that the gateway declined.
pub const CARD_DECLINED: &str = "card_declined";
/// `failure_code` of an attempt with a payment method that the gateway does not know.
pub const PAYMENT_METHOD_INVALID: &str = "payment_method_invalid";
/// `failure_code` of an attempt for which the gateway refused to create a charge.
pub const PAYMENT_REFUSED: &str = "payment_refused";

/// An attempt to pay a booking.
#[derive(Clone, Debug)]
pub struct Payment {
    pub id: i32,
    pub booking_id: i32,
    /// Prefix of the idempotency keys of calls to the gateway.
    pub gateway_key: Uuid,
    /// The gateway's id of the charge; without one nothing was charged.
    pub gateway_id: Option<String>,
    /// The gateway's token of the payment method.
    pub payment_method: String,
    pub state: AttemptState,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    /// Minor units of `currency`.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// When the captured money was applied to the booking.
    pub settled_at: Option<DateTime<Utc>>,
    /// Why it is refunded, if it is.
    pub refund_reason: Option<RefundReason>,
}

/// The state of a payment attempt as clients see it.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PaymentPhase {
    /// Not decided yet; poll the payment.
    Processing,
    /// Charged, and the seats are confirmed.
    Succeeded,
    /// Not charged, and it never will be.
    Failed,
    /// Charged and refunded.
    Refunded,
}

impl Payment {
    /// Whether it is unresolved or captured: a booking has one such attempt at most.
    pub fn is_active(&self) -> bool {
        matches!(self.state, AttemptState::Started | AttemptState::Succeeded)
    }

    /// Whether it failed, so that it never charges.
    pub fn has_failed(&self) -> bool {
        self.state == AttemptState::Failed
    }

    /// The state for clients. A payment that got no seats is processing until its refund is done.
    pub fn phase(&self) -> PaymentPhase {
        let without_seats = self.settled_at.is_none() || self.refund_reason == Some(RefundReason::SeatsLost);
        match self.state {
            AttemptState::Failed => PaymentPhase::Failed,
            AttemptState::Refunded => PaymentPhase::Refunded,
            AttemptState::Started => PaymentPhase::Processing,
            AttemptState::Succeeded if without_seats => PaymentPhase::Processing,
            AttemptState::Succeeded => PaymentPhase::Succeeded,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Refund {
    pub id: i32,
    pub payment_id: i32,
    pub booking_id: i32,
    /// Minor units.
    pub amount: i64,
    pub state: RefundState,
    /// The gateway's id of the refund.
    pub gateway_refund_id: Option<String>,
    /// Incremented when the gateway reports that the refund failed.
    pub key_version: i32,
}

impl Refund {
    /// The idempotency key of the call to the gateway.
    pub fn gateway_key(&self) -> String {
        match self.key_version {
            0 => format!("refund-{}", self.payment_id),
            version => format!("refund-{}-{version}", self.payment_id),
        }
    }
}
