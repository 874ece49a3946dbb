//! The payment methods of the mock.

use strum::{EnumString, IntoStaticStr};

use super::refusal::Refusal;

/// The payment methods, each named by its id.
#[derive(Clone, Copy, Debug, EnumString, Eq, IntoStaticStr, PartialEq)]
#[strum(const_into_str)]
pub enum PaymentMethod {
    /// Succeeds at once.
    #[strum(serialize = "pm_card_visa")]
    Visa,
    /// Declined at once.
    #[strum(serialize = "pm_card_visa_chargeDeclined")]
    VisaDeclined,
    /// Answers 500 before anything is charged.
    #[strum(serialize = "pm_mock_error")]
    Error,
    /// Charges, and then never answers.
    #[strum(serialize = "pm_mock_timeout")]
    Timeout,
    /// Succeeds some seconds later.
    #[strum(serialize = "pm_mock_late")]
    Late,
    /// Declined some seconds later.
    #[strum(serialize = "pm_mock_late_chargeDeclined")]
    LateDeclined,
}

impl PaymentMethod {
    pub fn parse(id: &str) -> Result<Self, Refusal> {
        id.parse().map_err(|_| Refusal::NoSuchPaymentMethod(id.to_owned()))
    }
}
