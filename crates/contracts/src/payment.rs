//! The payment providers, and which amounts they can charge: event-service refuses the others, booking-service
//! converts.

use std::str::FromStr;

use strum::{Display, IntoStaticStr};

use crate::money::{decimal, minor_digits};

/// A payment provider.
#[derive(Clone, Copy, Debug, Default, Display, Eq, IntoStaticStr, PartialEq)]
#[strum(serialize_all = "snake_case")]
pub enum Provider {
    /// The platform's own mock gateway, which charges everything.
    #[default]
    Mock,
    /// Stripe; its key decides between test and live mode.
    Stripe,
}

/// Why an amount cannot be charged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotChargeable {
    /// The provider does not charge in this currency.
    Currency,
    /// The amount must be a multiple of this many minor units.
    Steps(i64),
    /// The amount must be at least this many minor units.
    Minimum(i64),
    /// The amount must be at most this many minor units.
    Maximum(i64),
}

/// How many digits Stripe's amounts have where ISO 4217 has another number: ISK and UGX lost their minor units but keep
/// them at Stripe, and MGA is divided by five (<https://docs.stripe.com/currencies#special-cases>).
pub const STRIPE_DIGITS: [(&str, u32); 3] = [("ISK", 2), ("MGA", 0), ("UGX", 2)];
/// Currencies with three digits of which the last must be 0 (<https://docs.stripe.com/currencies#three-decimal>).
const STRIPE_MULTIPLES_OF_TEN: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
/// Currencies that are in use but that Stripe does not charge in
/// (<https://docs.stripe.com/currencies#presentment-currencies>).
const STRIPE_UNSUPPORTED: [&str; 18] = [
    "BTN", "CUP", "ERN", "GHS", "IQD", "IRR", "KPW", "LYD", "MRU", "SDG", "SSP", "STN", "SVC", "SYP", "TMT", "VED",
    "VES", "ZWG",
];
/// The least that can be charged in the currency of the Stripe account, in minor units
/// (<https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>). In others it depends on the exchange rate.
const STRIPE_MINIMA: [(&str, i64); 31] = [
    ("AED", 200),
    ("ARS", 50),
    ("AUD", 50),
    ("BRL", 50),
    ("CAD", 50),
    ("CHF", 50),
    ("COP", 50),
    ("CZK", 1500),
    ("DKK", 250),
    ("EUR", 50),
    ("GBP", 30),
    ("HKD", 400),
    ("HUF", 17_500),
    ("IDR", 50),
    ("ILS", 50),
    ("INR", 50),
    ("JPY", 50),
    ("KRW", 50),
    ("MXN", 1000),
    ("MYR", 200),
    ("NOK", 300),
    ("NZD", 50),
    ("PHP", 50),
    ("PLN", 200),
    ("RON", 200),
    ("RUB", 50),
    ("SEK", 300),
    ("SGD", 50),
    ("THB", 1000),
    ("USD", 50),
    ("ZAR", 50),
];
/// The most that a card can be charged at once, in Stripe's units.
const STRIPE_MAXIMUM: i64 = 999_999_999_999;

impl Provider {
    /// The name in settings and in the path of webhooks.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether it can charge an amount above 0.
    pub fn require_chargeable(self, amount: i64, currency: &str) -> Result<(), NotChargeable> {
        match self {
            Self::Mock => Ok(()),
            Self::Stripe => require_chargeable_by_stripe(amount, currency),
        }
    }

    /// An amount in the units of the provider's API; `None` if those are too coarse for it.
    pub fn to_provider_units(self, amount: i64, currency: &str) -> Option<i64> {
        let (multiplier, divisor) = self.factors(currency);
        (amount % divisor == 0).then(|| amount.saturating_mul(multiplier) / divisor)
    }

    /// The amount that the provider's API expresses as `units`.
    pub fn from_provider_units(self, units: i64, currency: &str) -> i64 {
        let (multiplier, divisor) = self.factors(currency);
        units.saturating_mul(divisor) / multiplier
    }

    /// The factor and the divisor that convert an amount into the provider's units.
    fn factors(self, currency: &str) -> (i64, i64) {
        let ours = minor_digits(currency).unwrap_or(2);
        let theirs = match self {
            Self::Mock => ours,
            Self::Stripe => {
                STRIPE_DIGITS.iter().find(|(code, _)| *code == currency).map_or(ours, |(_, digits)| *digits)
            }
        };
        (10_i64.pow(theirs.saturating_sub(ours)), 10_i64.pow(ours.saturating_sub(theirs)))
    }
}

fn require_chargeable_by_stripe(amount: i64, currency: &str) -> Result<(), NotChargeable> {
    if STRIPE_UNSUPPORTED.contains(&currency) || minor_digits(currency).is_none() {
        return Err(NotChargeable::Currency);
    }
    let (multiplier, divisor) = Provider::Stripe.factors(currency);
    let steps = if STRIPE_MULTIPLES_OF_TEN.contains(&currency) { 10 } else { divisor };
    if amount % steps != 0 {
        return Err(NotChargeable::Steps(steps));
    }
    let minimum = STRIPE_MINIMA.iter().find(|(code, _)| *code == currency);
    if let Some((_, minimum)) = minimum.filter(|(_, minimum)| amount < *minimum) {
        return Err(NotChargeable::Minimum(*minimum));
    }
    if amount.saturating_mul(multiplier) / divisor > STRIPE_MAXIMUM {
        return Err(NotChargeable::Maximum(STRIPE_MAXIMUM / multiplier * divisor));
    }
    Ok(())
}

impl NotChargeable {
    /// The message for people about a price in `currency`.
    pub fn message(&self, provider: Provider, currency: &str) -> String {
        let name = match provider {
            Provider::Mock => "the mock gateway",
            Provider::Stripe => "Stripe",
        };
        match self {
            Self::Currency => format!("must be 0 or in another currency: {name} does not charge in {currency}"),
            Self::Steps(steps) => {
                format!(
                    "must be a multiple of {} {currency}, the smallest step that {name} charges",
                    decimal(*steps, currency)
                )
            }
            Self::Minimum(least) => {
                format!("must be 0 or at least {} {currency}, the least {name} charges", decimal(*least, currency))
            }
            Self::Maximum(most) => {
                format!(
                    "must be at most {} {currency} for the seats of one booking, the most {name} charges",
                    decimal(*most, currency)
                )
            }
        }
    }
}

impl FromStr for Provider {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Mock, Self::Stripe].into_iter().find(|one| one.as_str() == text).ok_or("must be mock or stripe")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::CURRENCIES;

    #[test]
    fn amounts_are_converted_to_the_units_of_stripe_and_back() {
        let cases = [
            (1250, "EUR", 1250),
            (1_234_500, "HUF", 1_234_500),
            (80_045, "TWD", 80_045),
            (500, "JPY", 500),
            (500, "ISK", 50_000),
            (5000, "UGX", 500_000),
            (500_000, "MGA", 5000),
            (5120, "KWD", 5120),
            (99_999_999, "ISK", 9_999_999_900),
        ];
        for (amount, currency, units) in cases {
            assert_eq!(Provider::Stripe.require_chargeable(amount, currency), Ok(()), "{amount} {currency}");
            assert_eq!(Provider::Stripe.to_provider_units(amount, currency), Some(units), "{amount} {currency}");
            assert_eq!(Provider::Stripe.from_provider_units(units, currency), amount, "{units} {currency}");
        }
        assert_eq!(Provider::Stripe.to_provider_units(1050, "MGA"), None);
        // Old payments must stay refundable, even if the amount could not be charged today.
        assert_eq!(Provider::Stripe.to_provider_units(10, "EUR"), Some(10));
    }

    #[test]
    fn an_amount_that_stripe_cannot_charge_has_a_reason() {
        let cases = [
            (1000, "CUP", NotChargeable::Currency),
            (1000, "DEM", NotChargeable::Currency),
            (5124, "KWD", NotChargeable::Steps(10)),
            (1050, "MGA", NotChargeable::Steps(100)),
            (49, "EUR", NotChargeable::Minimum(50)),
            (17_400, "HUF", NotChargeable::Minimum(17_500)),
            (i64::MAX, "EUR", NotChargeable::Maximum(999_999_999_999)),
        ];
        for (amount, currency, reason) in cases {
            assert_eq!(Provider::Stripe.require_chargeable(amount, currency), Err(reason), "{amount} {currency}");
        }
        let message = NotChargeable::Steps(10).message(Provider::Stripe, "KWD");
        assert_eq!(message, "must be a multiple of 0.010 KWD, the smallest step that Stripe charges");
    }

    #[test]
    fn the_mock_charges_every_amount_unchanged() {
        for (currency, _) in CURRENCIES {
            assert_eq!(Provider::Mock.require_chargeable(1, currency), Ok(()));
            assert_eq!(Provider::Mock.to_provider_units(1, currency), Some(1));
            assert_eq!(Provider::Mock.from_provider_units(1, currency), 1);
        }
    }

    #[test]
    fn every_exception_is_about_a_currency_in_use() {
        let exceptions =
            STRIPE_DIGITS.iter().map(|(code, _)| code).chain(&STRIPE_MULTIPLES_OF_TEN).chain(&STRIPE_UNSUPPORTED);
        for code in exceptions.chain(STRIPE_MINIMA.iter().map(|(code, _)| code)) {
            assert!(minor_digits(code).is_some(), "{code}");
        }
    }

    #[test]
    fn a_provider_is_read_by_its_name() {
        assert_eq!("stripe".parse::<Provider>(), Ok(Provider::Stripe));
        assert!("paypal".parse::<Provider>().is_err());
    }
}
