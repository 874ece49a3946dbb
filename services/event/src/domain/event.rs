//! An event and its counters.

use chrono::{DateTime, Utc};
use contracts::message::EventFact;
use platform::error::FieldError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    details::{Details, to_millisecond},
    refusal::Refusal,
    validate::validate,
};

/// Who sees an event, and whether it is on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// Seen by its organizer alone.
    Draft,
    /// Seen by everybody, and sold.
    Published,
    /// Cancelled, for good; still seen by whoever knows its id.
    Cancelled,
}

/// An event with its counters: `available + held + sold = capacity`, none of them negative.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Never used again, not even after the event is deleted.
    pub id: String,
    /// The user id of the organizer.
    pub organizer_id: i32,
    pub status: EventStatus,
    pub details: Details,
    pub capacity: i64,
    pub available: i64,
    /// Seats of reservations that are not confirmed yet.
    pub held: i64,
    /// Seats of confirmed reservations.
    pub sold: i64,
    /// Whether a seat was ever sold: such an event is cancelled, not deleted.
    pub ever_sold: bool,
    /// Grows with every change of the event or its counters.
    pub version: i64,
    pub created_at: DateTime<Utc>,
    /// When its organizer last changed it.
    pub updated_at: DateTime<Utc>,
}

impl Event {
    /// A new event with all its seats available. Fails with all invalid fields.
    pub fn create(
        id: String,
        organizer_id: i32,
        status: EventStatus,
        details: Details,
        capacity: i64,
        now: DateTime<Utc>,
    ) -> Result<Self, Refusal> {
        let (details, now) = (details.normalized(), to_millisecond(now));
        let mut errors = validate(&details, capacity);
        if details.ends_at <= now {
            errors.push(FieldError::new("ends_at", "must be in the future"));
        }
        if !errors.is_empty() {
            return Err(Refusal::Invalid(errors));
        }
        Ok(Self {
            id,
            organizer_id,
            status,
            details,
            capacity,
            available: capacity,
            held: 0,
            sold: 0,
            ever_sold: false,
            version: 1,
            created_at: now,
            updated_at: now,
        })
    }

    /// Seats that are held or sold.
    pub fn taken(&self) -> i64 {
        self.held + self.sold
    }

    /// Whether the event admits a new hold of that many seats now, apart from how many are left.
    pub(super) fn check_sale(&self, seats: u32, now: DateTime<Utc>) -> Result<(), Refusal> {
        match self.status {
            EventStatus::Draft => return Err(Refusal::EventNotFound),
            EventStatus::Cancelled => return Err(Refusal::EventCancelled),
            EventStatus::Published => {}
        }
        if self.details.sales_start_at.is_some_and(|start| now < start) {
            return Err(Refusal::SalesNotOpen);
        }
        if now >= self.details.sales_end_at.unwrap_or(self.details.starts_at) {
            return Err(Refusal::SalesClosed);
        }
        if i64::from(seats) > self.details.max_seats_per_booking {
            return Err(Refusal::TooManySeats { max: self.details.max_seats_per_booking });
        }
        Ok(())
    }

    /// Whether that many seats are left.
    pub(super) fn check_available(&self, seats: u32) -> Result<(), Refusal> {
        if i64::from(seats) > self.available {
            return Err(Refusal::SoldOut { left: self.available });
        }
        Ok(())
    }

    /// The body of a message about this event.
    pub(super) fn fact(&self, changed: Vec<String>, now: DateTime<Utc>) -> EventFact {
        EventFact {
            event_id: self.id.clone(),
            title: self.details.title.clone(),
            venue: self.details.venue.clone(),
            starts_at: self.details.starts_at,
            ends_at: self.details.ends_at,
            time_zone: self.details.time_zone.clone(),
            changed,
            version: self.version,
            edited_version: None,
            unannounced: false,
            occurred_at: now,
        }
    }
}
