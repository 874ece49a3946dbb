//! What an organizer states about an event, and the form in which it is stored.

use chrono::{DateTime, Utc};

use super::time_zone::canonical_zone;

/// Seats per booking unless the organizer sets another number.
pub const DEFAULT_MAX_SEATS_PER_BOOKING: i64 = 10;

/// What an organizer states about an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Details {
    /// One line, 1 to 200 characters.
    pub title: String,
    /// Any text, up to 5,000 characters.
    pub description: String,
    /// One line, 1 to 200 characters.
    pub venue: String,
    /// IANA zone of the venue.
    pub time_zone: String,
    pub starts_at: DateTime<Utc>,
    /// After `starts_at`.
    pub ends_at: DateTime<Utc>,
    /// Per seat, in minor units of `currency`; 0 is free.
    pub price: i64,
    /// ISO 4217.
    pub currency: String,
    /// Up to 50 characters.
    pub category: Option<String>,
    /// An https address.
    pub image_url: Option<String>,
    /// If absent, sales are open from the creation on.
    pub sales_start_at: Option<DateTime<Utc>>,
    /// If absent, sales end when the event starts.
    pub sales_end_at: Option<DateTime<Utc>>,
    /// Seats that one booking may have, and that one user may hold unpaid.
    pub max_seats_per_booking: i64,
    /// Seats that one user may have, held and sold. If absent, only those of free events are limited.
    pub max_seats_per_person: Option<i64>,
}

impl Details {
    /// The stored form: texts trimmed, empty optional texts absent, the canonical name of the zone, the currency in
    /// capitals, instants to the millisecond (the database's precision).
    pub(super) fn normalized(self) -> Self {
        Self {
            title: trimmed(&self.title),
            venue: trimmed(&self.venue),
            time_zone: normalized_zone(&self.time_zone),
            currency: normalized_currency(&self.currency),
            category: self.category.as_deref().and_then(non_empty),
            image_url: self.image_url.as_deref().and_then(non_empty),
            starts_at: to_millisecond(self.starts_at),
            ends_at: to_millisecond(self.ends_at),
            sales_start_at: self.sales_start_at.map(to_millisecond),
            sales_end_at: self.sales_end_at.map(to_millisecond),
            ..self
        }
    }
}

pub(super) fn trimmed(text: &str) -> String {
    text.trim().to_owned()
}

/// The trimmed text; `None` if nothing is left.
pub(super) fn non_empty(text: &str) -> Option<String> {
    Some(trimmed(text)).filter(|text| !text.is_empty())
}

/// The canonical name of the zone; the trimmed text if there is no such zone.
pub(super) fn normalized_zone(text: &str) -> String {
    canonical_zone(text.trim()).map_or_else(|| trimmed(text), str::to_owned)
}

pub(super) fn normalized_currency(text: &str) -> String {
    text.trim().to_ascii_uppercase()
}

pub(super) fn to_millisecond(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at)
}
