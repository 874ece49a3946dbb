//! Payment intents, their charges and refunds, and what may be done with them in which status.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{PaymentMethod, Refusal};

/// Where a payment intent stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(crate) enum IntentStatus {
    /// New, or its last payment failed.
    RequiresPaymentMethod,
    /// Has a payment method, and waits for the word.
    RequiresConfirmation,
    /// Settles later.
    Processing,
    /// Paid.
    Succeeded,
    /// Given up; for ever.
    Canceled,
}

impl IntentStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

/// A payment intent as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct PaymentIntent {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) status: IntentStatus,
    pub(crate) payment_method: Option<String>,
    pub(crate) payment_method_types: Vec<String>,
    pub(crate) automatic_payment_methods: bool,
    pub(crate) capture_method: String,
    pub(crate) description: Option<String>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) booking_id: Option<String>,
    pub(crate) client_secret: String,
    pub(crate) amount_received: i64,
    pub(crate) latest_charge: Option<String>,
    pub(crate) last_payment_error: Option<Value>,
    pub(crate) canceled_at: Option<DateTime<Utc>>,
    pub(crate) cancellation_reason: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl PaymentIntent {
    /// The method to confirm with: the one given, else the one it has.
    pub(crate) fn confirmable_with(&self, given: Option<PaymentMethod>) -> Result<PaymentMethod, Refusal> {
        match self.status {
            IntentStatus::Succeeded => return Err(Refusal::AlreadySucceeded(Box::new(self.clone()))),
            IntentStatus::Processing | IntentStatus::Canceled => {
                return Err(Refusal::NotConfirmable(Box::new(self.clone())));
            }
            IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation => {}
        }
        match (given, &self.payment_method) {
            (Some(method), _) => Ok(method),
            (None, Some(id)) => PaymentMethod::parse(id),
            (None, None) => Err(Refusal::MissingPaymentMethod(Box::new(self.clone()))),
        }
    }

    /// Whether it may be given up: not once money moved or is about to.
    pub(crate) fn cancelable(&self) -> Result<(), Refusal> {
        match self.status {
            IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation => Ok(()),
            IntentStatus::Processing | IntentStatus::Succeeded | IntentStatus::Canceled => {
                Err(Refusal::NotCancelable(Box::new(self.clone())))
            }
        }
    }
}

/// What a caller asks for when creating a payment intent.
#[derive(Clone, Debug)]
pub(crate) struct NewPaymentIntent {
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) payment_method: Option<PaymentMethod>,
    pub(crate) payment_method_types: Vec<String>,
    pub(crate) automatic_payment_methods: bool,
    pub(crate) capture_method: String,
    pub(crate) description: Option<String>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) confirm: bool,
}

impl NewPaymentIntent {
    /// Where it begins.
    pub(crate) fn status(&self) -> IntentStatus {
        match self.payment_method {
            Some(_) => IntentStatus::RequiresConfirmation,
            None => IntentStatus::RequiresPaymentMethod,
        }
    }

    /// The booking that it pays for.
    pub(crate) fn booking_id(&self) -> Option<&str> {
        self.metadata.get("booking_id").and_then(Value::as_str)
    }
}

/// An attempt to take money, as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) payment_intent: String,
    pub(crate) amount: i64,
    pub(crate) amount_refunded: i64,
    pub(crate) currency: String,
    pub(crate) status: String,
    pub(crate) payment_method: String,
    pub(crate) failure_code: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl Charge {
    /// What to give back: the amount asked for, else all that is left.
    pub(crate) fn refundable(&self, asked: Option<i64>) -> Result<i64, Refusal> {
        let left = self.amount - self.amount_refunded;
        match asked {
            _ if left == 0 => Err(Refusal::AlreadyRefunded(self.id.clone())),
            Some(asked) if asked > left => Err(Refusal::RefundTooLarge { asked, left }),
            asked => Ok(asked.unwrap_or(left)),
        }
    }
}

/// What a caller asks for when refunding.
#[derive(Clone, Debug)]
pub(crate) struct NewRefund {
    pub(crate) payment_intent: String,
    pub(crate) amount: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Value,
}

/// A refund as it is stored. Refunds succeed at once.
#[derive(Clone, Debug)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) payment_intent: String,
    pub(crate) charge: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Value,
    pub(crate) created_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(amount_refunded: i64) -> Charge {
        Charge {
            id: "ch_1".to_owned(),
            payment_intent: "pi_1".to_owned(),
            amount: 1000,
            amount_refunded,
            currency: "eur".to_owned(),
            status: "succeeded".to_owned(),
            payment_method: "pm_card_visa".to_owned(),
            failure_code: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_refund_takes_what_is_left_and_never_more() {
        assert_eq!(charge(0).refundable(None).ok(), Some(1000));
        assert_eq!(charge(400).refundable(None).ok(), Some(600));
        assert_eq!(charge(400).refundable(Some(600)).ok(), Some(600));
        assert!(matches!(charge(400).refundable(Some(601)), Err(Refusal::RefundTooLarge { asked: 601, left: 600 })));
        assert!(matches!(charge(1000).refundable(Some(1)), Err(Refusal::AlreadyRefunded(_))));
    }
}
