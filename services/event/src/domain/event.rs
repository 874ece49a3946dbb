//! An event, its counters, and the changes that its organizer may make.

use chrono::{DateTime, Utc};
use contracts::message::{EventFact, Message};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Refusal,
    change::{Edit, UntoldChange},
    time_zone::canonical_zone,
    validate::{validate, validate_change},
};

/// Seats per booking unless the organizer says otherwise.
pub const DEFAULT_MAX_SEATS_PER_BOOKING: i64 = 10;

/// Who sees an event, and whether it is on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// Seen by its organizer alone.
    Draft,
    /// Seen by everybody, and sold.
    Published,
    /// Called off, for good; still seen by whoever knows its id.
    Cancelled,
}

impl EventStatus {
    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What an organizer says about an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Details {
    /// One line, 1 to 200 characters.
    pub title: String,
    /// Any text, up to 5,000 characters.
    pub description: String,
    /// Where, 1 to 200 characters.
    pub venue: String,
    /// IANA zone of the venue.
    pub time_zone: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends, after its beginning.
    pub ends_at: DateTime<Utc>,
    /// Per seat, in minor units of `currency`; 0 is free.
    pub price: i64,
    /// ISO 4217.
    pub currency: String,
    /// A word or two to filter by.
    pub category: Option<String>,
    /// A picture, by https.
    pub image_url: Option<String>,
    /// When sales begin; at once if absent.
    pub sales_start_at: Option<DateTime<Utc>>,
    /// When sales end; at the event's beginning if absent.
    pub sales_end_at: Option<DateTime<Utc>>,
    /// Seats that one booking may have, and that one person may hold.
    pub max_seats_per_booking: i64,
    /// Seats that one person may have, held and sold. If absent, only those of free events are limited.
    pub max_seats_per_person: Option<i64>,
}

/// An event with its counters: `available + held + sold = capacity`, none of them negative.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Unique for ever.
    pub id: String,
    /// Who made it.
    pub organizer_id: i32,
    /// Who sees it, and whether it is on.
    pub status: EventStatus,
    /// What its organizer says about it.
    pub details: Details,
    /// Seats in all.
    pub capacity: i64,
    /// Seats that can still be had.
    pub available: i64,
    /// Seats held by reservations that are not confirmed yet.
    pub held: i64,
    /// Seats of confirmed reservations.
    pub sold: i64,
    /// Whether a seat was ever sold: such an event is cancelled, not deleted.
    pub ever_sold: bool,
    /// Grows with every change of the event or its counters.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its organizer last changed it.
    pub updated_at: DateTime<Utc>,
}

/// A change of an event: fields that are `None` stay as they are, `Some(None)` clears.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the fields of Details and Event, under the same names")]
pub struct EventPatch {
    pub title: Option<String>,
    pub description: Option<String>,
    pub venue: Option<String>,
    pub time_zone: Option<String>,
    pub starts_at: Option<DateTime<Utc>>,
    pub ends_at: Option<DateTime<Utc>>,
    pub capacity: Option<i64>,
    pub price: Option<i64>,
    pub currency: Option<String>,
    pub category: Option<Option<String>>,
    pub image_url: Option<Option<String>>,
    pub sales_start_at: Option<Option<DateTime<Utc>>>,
    pub sales_end_at: Option<Option<DateTime<Utc>>>,
    pub max_seats_per_booking: Option<i64>,
    pub max_seats_per_person: Option<Option<i64>>,
    pub status: Option<EventStatus>,
}

/// The result of an edit: the event afterwards, the message to send at once, and what holders are told later.
pub(super) struct Edited {
    pub(super) event: Event,
    pub(super) message: Option<Message>,
    pub(super) untold: Option<UntoldChange>,
}

impl Event {
    /// A new event with all its seats available. Fails with all that is wrong with it.
    pub fn create(
        id: String,
        organizer_id: i32,
        status: EventStatus,
        details: Details,
        capacity: i64,
        now: DateTime<Utc>,
    ) -> Result<Self, Refusal> {
        let (details, now) = (details.normalized(), to_millisecond(now));
        let mut faults = validate(&details, capacity);
        if details.ends_at <= now {
            faults.push(platform::error::FieldError::new("ends_at", "must be in the future"));
        }
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
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

    /// Whether a new hold of that many seats is allowed now, apart from how many are left.
    pub(super) fn admit(&self, seats: u32, now: DateTime<Utc>) -> Result<(), Refusal> {
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
    pub(super) fn has_left(&self, seats: u32) -> Result<(), Refusal> {
        if i64::from(seats) > self.available && !platform::guard_removed!("event.available") {
            return Err(Refusal::SoldOut { left: self.available });
        }
        Ok(())
    }

    /// The event after a change, and the messages to holders. Changing nothing is always allowed.
    pub(super) fn edit(
        &self,
        patch: &EventPatch,
        untold: Option<UntoldChange>,
        edit: Edit<'_>,
    ) -> Result<Edited, Refusal> {
        let mut event = self.clone();
        event.details = self.details.patched(patch);
        event.capacity = patch.capacity.unwrap_or(self.capacity);
        event.status = patch.status.unwrap_or(self.status);
        if event == *self {
            return Ok(Edited { event, message: None, untold });
        }
        self.allow(&event, edit.now)?;
        event.available = event.capacity - event.taken();
        event.version += 1;
        event.updated_at = edit.now;
        let (message, untold) = self.tell_edit(&event, untold, edit);
        Ok(Edited { event, message, untold })
    }

    fn allow(&self, next: &Self, now: DateTime<Utc>) -> Result<(), Refusal> {
        if self.status == EventStatus::Cancelled {
            return Err(Refusal::EventCancelled);
        }
        let mut faults = validate_change((&self.details, self.capacity), (&next.details, next.capacity));
        // Into the past there is no moving: it would take away the right to cancel.
        let (before, after) = (&self.details, &next.details);
        for (field, moved, at) in [
            ("starts_at", after.starts_at != before.starts_at, after.starts_at),
            ("ends_at", after.ends_at != before.ends_at, after.ends_at),
        ] {
            if moved && at <= now {
                faults.push(platform::error::FieldError::new(field, "must be in the future"));
            }
        }
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        let taken = self.taken();
        if next.capacity < taken {
            return Err(Refusal::CapacityBelowSold { taken });
        }
        if next.status == EventStatus::Draft && taken > 0 {
            return Err(Refusal::SeatsTaken { taken });
        }
        Ok(())
    }

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
            untold: false,
            occurred_at: now,
        }
    }
}

impl Details {
    /// The stored form: no outer spaces, empty optional texts absent, the zone by its name in use, the currency in
    /// capitals, instants to the millisecond (the database's precision).
    fn normalized(self) -> Self {
        Self {
            title: trimmed(&self.title),
            venue: trimmed(&self.venue),
            time_zone: normalized_zone(&self.time_zone),
            currency: normalized_currency(&self.currency),
            category: self.category.as_deref().and_then(given),
            image_url: self.image_url.as_deref().and_then(given),
            starts_at: to_millisecond(self.starts_at),
            ends_at: to_millisecond(self.ends_at),
            sales_start_at: self.sales_start_at.map(to_millisecond),
            sales_end_at: self.sales_end_at.map(to_millisecond),
            ..self
        }
    }

    /// With the fields of the patch in their stored form. The others stay unchanged, even if their stored form is
    /// outdated.
    fn patched(&self, patch: &EventPatch) -> Self {
        fn field<T: Clone>(new: Option<T>, old: &T) -> T {
            new.unwrap_or_else(|| old.clone())
        }
        let line = |text: &Option<String>| text.as_deref().map(trimmed);
        let optional = |text: &Option<Option<String>>| text.as_ref().map(|text| text.as_deref().and_then(given));
        let instant = |at: Option<Option<DateTime<Utc>>>| at.map(|at| at.map(to_millisecond));
        Self {
            title: field(line(&patch.title), &self.title),
            description: field(patch.description.clone(), &self.description),
            venue: field(line(&patch.venue), &self.venue),
            time_zone: field(patch.time_zone.as_deref().map(normalized_zone), &self.time_zone),
            starts_at: field(patch.starts_at.map(to_millisecond), &self.starts_at),
            ends_at: field(patch.ends_at.map(to_millisecond), &self.ends_at),
            price: field(patch.price, &self.price),
            currency: field(patch.currency.as_deref().map(normalized_currency), &self.currency),
            category: field(optional(&patch.category), &self.category),
            image_url: field(optional(&patch.image_url), &self.image_url),
            sales_start_at: field(instant(patch.sales_start_at), &self.sales_start_at),
            sales_end_at: field(instant(patch.sales_end_at), &self.sales_end_at),
            max_seats_per_booking: field(patch.max_seats_per_booking, &self.max_seats_per_booking),
            max_seats_per_person: field(patch.max_seats_per_person, &self.max_seats_per_person),
        }
    }
}

fn trimmed(text: &str) -> String {
    text.trim().to_owned()
}

fn given(text: &str) -> Option<String> {
    Some(trimmed(text)).filter(|text| !text.is_empty())
}

/// The zone's name in use; the text as typed if there is no such zone.
pub(super) fn normalized_zone(text: &str) -> String {
    canonical_zone(text.trim()).map_or_else(|| trimmed(text), str::to_owned)
}

fn normalized_currency(text: &str) -> String {
    text.trim().to_ascii_uppercase()
}

fn to_millisecond(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.timestamp_millis()).unwrap_or(at)
}
