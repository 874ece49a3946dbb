//! Payment intents with their charges and refunds, and what each status allows.

use chrono::{DateTime, Utc};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr};

use super::{PaymentMethod, Refusal, objects};

#[derive(Clone, Copy, Debug, EnumString, Eq, IntoStaticStr, PartialEq)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum IntentStatus {
    /// New, or its last payment failed.
    RequiresPaymentMethod,
    /// Has a payment method.
    RequiresConfirmation,
    /// Will be settled later.
    Processing,
    Succeeded,
    Canceled,
}

#[derive(Clone, Debug)]
pub struct PaymentIntent {
    pub id: String,
    pub amount: i64,
    pub currency: String,
    pub status: IntentStatus,
    pub payment_method: Option<String>,
    pub payment_method_types: Vec<String>,
    pub automatic_payment_methods: bool,
    pub capture_method: String,
    pub description: Option<String>,
    pub receipt_email: Option<String>,
    pub metadata: Value,
    pub booking_id: Option<String>,
    pub client_secret: String,
    pub amount_received: i64,
    pub latest_charge: Option<String>,
    pub last_payment_error: Option<Value>,
    pub canceled_at: Option<DateTime<Utc>>,
    pub cancellation_reason: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl PaymentIntent {
    /// The method to confirm with: `given`, or else its own. Fails if its status does not allow a confirmation.
    pub fn method_to_confirm(&self, given: Option<PaymentMethod>) -> Result<PaymentMethod, Refusal> {
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

    /// The intent after a payment by `charge` succeeded.
    #[must_use]
    pub fn succeeded(self, payment_method: PaymentMethod, charge: String) -> Self {
        Self {
            status: IntentStatus::Succeeded,
            amount_received: self.amount,
            payment_method: Some(payment_method.into_str().to_owned()),
            latest_charge: Some(charge),
            last_payment_error: None,
            ..self
        }
    }

    /// The intent after a payment by `charge` was declined.
    #[must_use]
    pub fn declined(self, payment_method: PaymentMethod, charge: String) -> Self {
        Self {
            status: IntentStatus::RequiresPaymentMethod,
            payment_method: None,
            last_payment_error: Some(objects::payment_error(&charge, payment_method.into_str())),
            latest_charge: Some(charge),
            ..self
        }
    }

    /// Fails once money has moved or is about to.
    pub fn check_cancelable(&self) -> Result<(), Refusal> {
        match self.status {
            IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation => Ok(()),
            IntentStatus::Processing | IntentStatus::Succeeded | IntentStatus::Canceled => {
                Err(Refusal::NotCancelable(Box::new(self.clone())))
            }
        }
    }
}

#[derive(Clone, Debug)]
pub struct NewPaymentIntent {
    pub amount: i64,
    pub currency: String,
    pub payment_method: Option<PaymentMethod>,
    pub payment_method_types: Vec<String>,
    pub automatic_payment_methods: bool,
    pub capture_method: String,
    pub description: Option<String>,
    pub receipt_email: Option<String>,
    pub metadata: Value,
    pub confirm: bool,
}

impl NewPaymentIntent {
    pub fn initial_status(&self) -> IntentStatus {
        match self.payment_method {
            Some(_) => IntentStatus::RequiresConfirmation,
            None => IntentStatus::RequiresPaymentMethod,
        }
    }

    pub fn booking_id(&self) -> Option<&str> {
        self.metadata.get("booking_id").and_then(Value::as_str)
    }
}

/// An attempt to take money.
#[derive(Clone, Debug)]
pub struct Charge {
    pub id: String,
    pub payment_intent: String,
    pub amount: i64,
    pub amount_refunded: i64,
    pub currency: String,
    pub status: String,
    pub payment_method: String,
    pub failure_code: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl Charge {
    /// The amount to refund: `requested`, or else all that is left. Fails if less is left.
    pub fn amount_to_refund(&self, requested: Option<i64>) -> Result<i64, Refusal> {
        let left = self.amount - self.amount_refunded;
        match requested {
            _ if left == 0 => Err(Refusal::AlreadyRefunded(self.id.clone())),
            Some(requested) if requested > left => Err(Refusal::RefundTooLarge { requested, left }),
            _ => Ok(requested.unwrap_or(left)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct NewRefund {
    pub payment_intent: String,
    pub amount: Option<i64>,
    pub reason: Option<String>,
    pub metadata: Value,
}

/// Refunds succeed at once.
#[derive(Clone, Debug)]
pub struct Refund {
    pub id: String,
    pub payment_intent: String,
    pub charge: String,
    pub amount: i64,
    pub currency: String,
    pub reason: Option<String>,
    pub metadata: Value,
    pub created_at: DateTime<Utc>,
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
    fn a_refund_is_at_most_what_is_left() {
        assert_eq!(charge(0).amount_to_refund(None).ok(), Some(1000));
        assert_eq!(charge(400).amount_to_refund(None).ok(), Some(600));
        assert_eq!(charge(400).amount_to_refund(Some(600)).ok(), Some(600));
        assert!(matches!(
            charge(400).amount_to_refund(Some(601)),
            Err(Refusal::RefundTooLarge { requested: 601, left: 600 })
        ));
        assert!(matches!(charge(1000).amount_to_refund(Some(1)), Err(Refusal::AlreadyRefunded(_))));
    }
}
