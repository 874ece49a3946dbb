//! The rules for what an organizer says about an event; all faults at once.

use chrono::{DateTime, Datelike, Utc};
use platform::error::FieldError;
use url::Url;

use super::{currency::is_active_currency, event::Details};

const MAX_TITLE: usize = 200;
const MAX_DESCRIPTION: usize = 5_000;
const MAX_VENUE: usize = 200;
const MAX_CATEGORY: usize = 50;
const MAX_IMAGE_URL: usize = 2_000;
const MAX_CAPACITY: i64 = 1_000_000;
/// What one booking may cost: payment companies take no more in one charge.
const MAX_AMOUNT: i64 = 99_999_999;
const MAX_SEATS_PER_BOOKING: i64 = 100;
/// Years that both the database and JavaScript's dates are at ease with.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2999;

/// Whether an instant is one that events are held at.
pub fn is_sensible(at: DateTime<Utc>) -> bool {
    YEARS.contains(&at.year())
}

/// What is wrong, field by field; empty when nothing is.
pub(super) fn validate(details: &Details, capacity: i64) -> Vec<FieldError> {
    let mut faults = Faults(Vec::new());
    faults.line("title", &details.title, 1, MAX_TITLE);
    faults.line("venue", &details.venue, 1, MAX_VENUE);
    faults.line("category", details.category.as_deref().unwrap_or("-"), 1, MAX_CATEGORY);
    let fits = details.description.chars().count() <= MAX_DESCRIPTION;
    faults.check(fits, "description", || format!("must have at most {MAX_DESCRIPTION} characters"));
    let zone = details.time_zone.parse::<chrono_tz::Tz>();
    faults.check(zone.is_ok(), "time_zone", || "must be an IANA time zone, such as Europe/Berlin".to_owned());
    faults.number("capacity", capacity, 1, MAX_CAPACITY);
    faults.number("price", details.price, 0, MAX_AMOUNT);
    faults.number("max_seats_per_booking", details.max_seats_per_booking, 1, MAX_SEATS_PER_BOOKING);
    let dearest = details.price.saturating_mul(details.max_seats_per_booking);
    faults.check(details.price > MAX_AMOUNT || dearest <= MAX_AMOUNT, "price", || {
        format!("must be at most {MAX_AMOUNT} for the seats of one booking; lower it or max_seats_per_booking")
    });
    faults.check(is_active_currency(&details.currency), "currency", || {
        "must be an ISO 4217 code in use, such as EUR".to_owned()
    });
    faults.check(details.image_url.as_deref().is_none_or(is_web_address), "image_url", || {
        format!("must be an http or https address of at most {MAX_IMAGE_URL} characters")
    });
    faults.times(details);
    faults.0
}

struct Faults(Vec<FieldError>);

impl Faults {
    fn check(&mut self, fine: bool, field: &str, message: impl FnOnce() -> String) {
        if !fine {
            self.0.push(FieldError::new(field, message()));
        }
    }

    fn line(&mut self, field: &str, text: &str, min: usize, max: usize) {
        let fits = (min..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        self.check(fits, field, || format!("must be one line of {min} to {max} characters"));
    }

    fn number(&mut self, field: &str, number: i64, min: i64, max: i64) {
        self.check((min..=max).contains(&number), field, || format!("must be from {min} to {max}"));
    }

    fn times(&mut self, details: &Details) {
        let named = [
            ("starts_at", Some(details.starts_at)),
            ("ends_at", Some(details.ends_at)),
            ("sales_start_at", details.sales_start_at),
            ("sales_end_at", details.sales_end_at),
        ];
        for (field, at) in named {
            self.check(at.is_none_or(is_sensible), field, || "must be from 1970 to 2999".to_owned());
        }
        self.check(details.ends_at > details.starts_at, "ends_at", || "must be after starts_at".to_owned());
        let sales_end_at = details.sales_end_at.unwrap_or(details.starts_at);
        let ordered = details.sales_start_at.is_none_or(|start| start < sales_end_at);
        self.check(ordered, "sales_start_at", || "must be before sales_end_at (or starts_at)".to_owned());
        let in_time = details.sales_end_at.is_none_or(|end| end <= details.ends_at);
        self.check(in_time, "sales_end_at", || "must not be after ends_at".to_owned());
    }
}

fn is_web_address(text: &str) -> bool {
    let parsed = Url::parse(text);
    text.len() <= MAX_IMAGE_URL
        && parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}
