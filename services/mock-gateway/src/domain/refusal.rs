//! Why a request is refused.

use thiserror::Error;

use super::intent::PaymentIntent;

/// Why a valid request is refused. `error.rs` gives it Stripe's shape.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The id in the path is unknown.
    #[error("No such payment_intent: '{0}'")]
    NoSuchPaymentIntent(String),
    /// The id in a parameter is unknown.
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
        .0.status.into_str()
    )]
    NotConfirmable(Box<PaymentIntent>),
    #[error(
        "You cannot cancel this PaymentIntent because it has a status of {}. Only a PaymentIntent with one of the \
         following statuses may be canceled: requires_payment_method, requires_capture, requires_confirmation, \
         requires_action.",
        .0.status.into_str()
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
    #[error("Refund amount ({requested}) is greater than unrefunded amount on charge ({left})")]
    RefundTooLarge { requested: i64, left: i64 },
}
