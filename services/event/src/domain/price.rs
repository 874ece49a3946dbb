//! Which prices the payment provider can charge. Others are refused, because nobody could pay them.

use contracts::{money::minor_digits, payment::Provider};
use platform::error::FieldError;

use super::{
    details::{Details, normalized_currency},
    edit::EventPatch,
    event::Event,
    refusal::Refusal,
};

/// Refuses a new event whose price `provider` cannot charge.
pub fn require_chargeable(details: &Details, provider: Provider) -> Result<(), Refusal> {
    check(details.price, &details.currency, details.max_seats_per_booking, provider)
}

/// Refuses a change to a price that `provider` cannot charge. An unchanged price is not checked again.
pub fn require_chargeable_change(event: &Event, patch: &EventPatch, provider: Provider) -> Result<(), Refusal> {
    let Details { price, currency, max_seats_per_booking: seats, .. } = &event.details;
    let next_price = patch.price.unwrap_or(*price);
    let next_currency = normalized_currency(patch.currency.as_deref().unwrap_or(currency));
    let next_seats = patch.max_seats_per_booking.unwrap_or(*seats);
    if (next_price, next_currency.as_str(), next_seats) == (*price, currency.as_str(), *seats) {
        return Ok(());
    }
    check(next_price, &next_currency, next_seats, provider)
}

/// Checks the price of one seat, and that of the largest booking.
fn check(price: i64, currency: &str, seats: i64, provider: Provider) -> Result<(), Refusal> {
    // Validation refuses invalid prices and currencies with its own messages.
    if price <= 0 || minor_digits(currency).is_none() {
        return Ok(());
    }
    let largest = price.saturating_mul(seats.max(1));
    let checked = [price, largest].into_iter().try_for_each(|amount| provider.require_chargeable(amount, currency));
    checked.map_err(|reason| Refusal::Invalid(vec![FieldError::new("price", reason.message(provider, currency))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_that_stripe_cannot_charge_is_refused_only_with_stripe() {
        for (price, currency) in [(5124, "KWD"), (1050, "MGA"), (1000, "CUP"), (49, "EUR")] {
            assert!(matches!(check(price, currency, 10, Provider::Stripe), Err(Refusal::Invalid(_))), "{currency}");
            assert_eq!(check(price, currency, 10, Provider::Mock), Ok(()), "{currency}");
        }
        for (price, currency) in [(0, "CUP"), (5120, "KWD"), (500, "ISK"), (2500, "EUR"), (-1, "EUR"), (100, "XXX")] {
            assert_eq!(check(price, currency, 10, Provider::Stripe), Ok(()), "{currency}");
        }
    }
}
