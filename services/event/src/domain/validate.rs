//! The rules for the fields of an event. All invalid fields are reported at once.
//!
//! A change is checked only against the rules for the fields it changes, so an event that was stored under older rules
//! can still be changed in other fields, cancelled and deleted.

use chrono::{DateTime, Datelike, Utc};
use contracts::{
    money::minor_digits,
    text::{TextError, check_line, check_lines},
};
use platform::error::FieldError;
use url::Url;

use super::{details::Details, time_zone::canonical_zone};

const MAX_TITLE: usize = 200;
const MAX_DESCRIPTION: usize = 5_000;
const MAX_VENUE: usize = 200;
const MAX_CATEGORY: usize = 50;
const MAX_IMAGE_URL: usize = 2_000;
const MAX_CAPACITY: i64 = 1_000_000;
/// The most that one booking may cost, in minor units: payment providers charge no more at once.
const MAX_AMOUNT: i64 = 99_999_999;
const MAX_SEATS_PER_BOOKING: i64 = 100;
const MAX_SEATS_PER_PERSON: i64 = MAX_CAPACITY;
/// Years that both the database and JavaScript's dates support.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2999;

/// Whether an event can start or end at that instant.
pub fn is_supported_instant(at: DateTime<Utc>) -> bool {
    YEARS.contains(&at.year())
}

/// The invalid fields of a new event.
pub(super) fn validate(details: &Details, capacity: i64) -> Vec<FieldError> {
    Validator { before: None, errors: Vec::new() }.run(details, capacity)
}

/// The invalid fields among those that a change touches.
pub(super) fn validate_change(before: (&Details, i64), after: (&Details, i64)) -> Vec<FieldError> {
    Validator { before: Some(before), errors: Vec::new() }.run(after.0, after.1)
}

/// One of the instants of an event.
type Instant = fn(&Details) -> Option<DateTime<Utc>>;

struct Validator<'a> {
    /// The event before the change; `None` for a new event.
    before: Option<(&'a Details, i64)>,
    errors: Vec<FieldError>,
}

impl Validator<'_> {
    fn run(mut self, details: &Details, capacity: i64) -> Vec<FieldError> {
        self.texts(details);
        self.image(details);
        if self.changes(|old| old.time_zone != details.time_zone) {
            let known = canonical_zone(&details.time_zone).is_some();
            self.check(known, "time_zone", || "must be an IANA time zone, such as Europe/Berlin".to_owned());
        }
        if self.before.is_none_or(|(_, old)| old != capacity) {
            self.number("capacity", capacity, 1, MAX_CAPACITY);
        }
        self.prices(details);
        self.times(details);
        self.errors
    }

    /// Whether a rule applies: to every field of a new event, and to the fields that a change touches.
    fn changes(&self, differs: impl FnOnce(&Details) -> bool) -> bool {
        self.before.is_none_or(|(old, _)| differs(old))
    }

    fn check(&mut self, valid: bool, field: &str, message: impl FnOnce() -> String) {
        if !valid {
            self.errors.push(FieldError::new(field, message()));
        }
    }

    fn texts(&mut self, details: &Details) {
        if self.changes(|old| old.title != details.title) {
            self.line("title", &details.title, MAX_TITLE);
        }
        if self.changes(|old| old.venue != details.venue) {
            self.line("venue", &details.venue, MAX_VENUE);
        }
        if let Some(category) = &details.category
            && self.changes(|old| old.category.as_ref() != Some(category))
        {
            self.line("category", category, MAX_CATEGORY);
        }
        if self.changes(|old| old.description != details.description) {
            let fits = details.description.chars().count() <= MAX_DESCRIPTION;
            self.check(fits, "description", || format!("must have at most {MAX_DESCRIPTION} characters"));
            self.characters("description", check_lines(&details.description));
        }
    }

    fn line(&mut self, field: &str, text: &str, max: usize) {
        let fits = (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        self.check(fits, field, || format!("must be one line of 1 to {max} characters"));
        if fits {
            self.characters(field, check_line(text));
        }
    }

    fn characters(&mut self, field: &str, checked: Result<(), TextError>) {
        if let Err(error) = checked {
            self.errors.push(FieldError::new(field, error.to_string()));
        }
    }

    fn number(&mut self, field: &str, number: i64, min: i64, max: i64) {
        self.check((min..=max).contains(&number), field, || format!("must be from {min} to {max}"));
    }

    fn image(&mut self, details: &Details) {
        if self.changes(|old| old.image_url != details.image_url)
            && let Some(error) = details.image_url.as_deref().and_then(image_error)
        {
            self.errors.push(FieldError::new("image_url", error));
        }
    }

    fn prices(&mut self, details: &Details) {
        let (price, seats) = (details.price, details.max_seats_per_booking);
        if self.changes(|old| old.price != price) {
            self.number("price", price, 0, MAX_AMOUNT);
        }
        if self.changes(|old| old.max_seats_per_booking != seats) {
            self.number("max_seats_per_booking", seats, 1, MAX_SEATS_PER_BOOKING);
        }
        if self.changes(|old| old.max_seats_per_person != details.max_seats_per_person)
            && let Some(max) = details.max_seats_per_person
        {
            self.number("max_seats_per_person", max, 1, MAX_SEATS_PER_PERSON);
        }
        if self.changes(|old| (old.price, old.max_seats_per_booking) != (price, seats)) {
            self.check(price > MAX_AMOUNT || price.saturating_mul(seats) <= MAX_AMOUNT, "price", || {
                format!("must be at most {MAX_AMOUNT} for the seats of one booking; lower it or max_seats_per_booking")
            });
        }
        if self.changes(|old| old.currency != details.currency) {
            self.check(minor_digits(&details.currency).is_some(), "currency", || {
                "must be an ISO 4217 code in use, such as EUR".to_owned()
            });
        }
    }

    fn times(&mut self, details: &Details) {
        let named: [(&str, Instant); 4] = [
            ("starts_at", |details| Some(details.starts_at)),
            ("ends_at", |details| Some(details.ends_at)),
            ("sales_start_at", |details| details.sales_start_at),
            ("sales_end_at", |details| details.sales_end_at),
        ];
        for (field, at) in named {
            if self.changes(|old| at(old) != at(details)) {
                self.check(at(details).is_none_or(is_supported_instant), field, || {
                    "must be from 1970 to 2999".to_owned()
                });
            }
        }
        if !self.changes(|old| named.iter().any(|(_, at)| at(old) != at(details))) {
            return;
        }
        self.check(details.ends_at > details.starts_at, "ends_at", || "must be after starts_at".to_owned());
        let sales_end_at = details.sales_end_at.unwrap_or(details.starts_at);
        let ordered = details.sales_start_at.is_none_or(|start| start < sales_end_at);
        self.check(ordered, "sales_start_at", || "must be before sales_end_at (or starts_at)".to_owned());
        let in_time = details.sales_end_at.is_none_or(|end| end <= details.ends_at);
        self.check(in_time, "sales_end_at", || "must not be after ends_at".to_owned());
    }
}

/// Why the frontend would not show a picture: its content policy allows only https, and browsers load nothing from
/// addresses that contain a user name or a password.
fn image_error(text: &str) -> Option<String> {
    if text.chars().count() > MAX_IMAGE_URL {
        return Some(format!("must have at most {MAX_IMAGE_URL} characters"));
    }
    let Ok(url) = Url::parse(text) else {
        return Some("must be an address such as https://example.org/a.png".to_owned());
    };
    if url.scheme() != "https" {
        return Some(format!("must be an https address; pictures over {} are not shown", url.scheme()));
    }
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    has_credentials.then(|| "must not contain a user name or a password: browsers do not load such pictures".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_that_the_frontend_shows_are_accepted() {
        for shown in ["https://example.org/a.png", "HTTPS://example.org", "https://[::1]:8443/ü.png?x=1#y"] {
            assert_eq!(image_error(shown), None, "{shown}");
        }
        for refused in [
            "http://example.org/a.png",
            "data:image/png;base64,AAAA",
            "//example.org/a.png",
            "/a.png",
            "blob:https://example.org/1",
            "ftp://example.org/a.png",
            "javascript:alert(1)",
            "https://ada:secret@example.org/a.png",
            "https://",
        ] {
            assert!(image_error(refused).is_some(), "{refused}");
        }
        assert!(image_error(&format!("https://example.org/{}", "x".repeat(2_000))).is_some());
    }
}
