//! What the mock payment company knows: ids, payment methods, statuses, and why it refuses. Pure.

pub(crate) mod fault;
pub(crate) mod intent;

use rand::distr::{Alphanumeric, SampleString};
use thiserror::Error;

use self::intent::PaymentIntent;

/// A new id such as `pi_…`, in the shape of Stripe's.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", Alphanumeric.sample_string(&mut rand::rng(), 24))
}

/// The payment methods that there are, each with its behaviour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PaymentMethod {
    /// Succeeds at once.
    Visa,
    /// Declined at once.
    VisaDeclined,
    /// Answers 500 before anything is charged.
    Error,
    /// Charges, and then never answers.
    Timeout,
    /// Succeeds some seconds later.
    Late,
    /// Declined some seconds later.
    LateDeclined,
}

impl PaymentMethod {
    const ALL: [Self; 6] = [Self::Visa, Self::VisaDeclined, Self::Error, Self::Timeout, Self::Late, Self::LateDeclined];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Visa => "pm_card_visa",
            Self::VisaDeclined => "pm_card_visa_chargeDeclined",
            Self::Error => "pm_mock_error",
            Self::Timeout => "pm_mock_timeout",
            Self::Late => "pm_mock_late",
            Self::LateDeclined => "pm_mock_late_chargeDeclined",
        }
    }

    pub(crate) fn parse(id: &str) -> Result<Self, Refusal> {
        let known = Self::ALL.into_iter().find(|method| method.as_str() == id);
        known.ok_or_else(|| Refusal::NoSuchPaymentMethod(id.to_owned()))
    }
}

/// Why a request that was understood is not done. Each is Stripe's; `error.rs` gives them its shape.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// The path names an intent that is not there.
    #[error("No such payment_intent: '{0}'")]
    NoSuchPaymentIntent(String),
    /// A parameter names an intent that is not there.
    #[error("No such payment_intent: '{0}'")]
    UnknownPaymentIntent(String),
    #[error("No such refund: '{0}'")]
    NoSuchRefund(String),
    #[error("No such PaymentMethod: '{0}'")]
    NoSuchPaymentMethod(String),
    #[error(
        "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the \
         PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment \
         method."
    )]
    MissingPaymentMethod(Box<PaymentIntent>),
    #[error("You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed.")]
    AlreadySucceeded(Box<PaymentIntent>),
    #[error(
        "You cannot confirm this PaymentIntent because it has a status of {}. Only a PaymentIntent with one of the \
         following statuses may be confirmed: requires_confirmation, requires_action.",
        .0.status.as_str()
    )]
    NotConfirmable(Box<PaymentIntent>),
    #[error(
        "You cannot cancel this PaymentIntent because it has a status of {}. Only a PaymentIntent with one of the \
         following statuses may be canceled: requires_payment_method, requires_capture, requires_confirmation, \
         requires_action.",
        .0.status.as_str()
    )]
    NotCancelable(Box<PaymentIntent>),
    #[error("Your card was declined.")]
    Declined(Box<PaymentIntent>),
    #[error("An unknown error occurred before anything was charged.")]
    ProcessorFailed,
    #[error("This PaymentIntent ({0}) does not have a successful charge to refund.")]
    NothingToRefund(String),
    #[error("Charge {0} has already been refunded.")]
    AlreadyRefunded(String),
    #[error("Refund amount ({asked}) is greater than unrefunded amount on charge ({left})")]
    RefundTooLarge { asked: i64, left: i64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_shape_of_stripes_and_differ() {
        let (one, other) = (new_id("pi"), new_id("pi"));

        assert!(one.starts_with("pi_") && one.len() == 27, "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn every_payment_method_is_found_by_its_id_and_no_other_is() {
        for method in PaymentMethod::ALL {
            assert_eq!(PaymentMethod::parse(method.as_str()).ok(), Some(method));
        }
        assert!(PaymentMethod::parse("pm_card_visa_").is_err());
    }
}
