//! Events in requests and responses. The body of a change is [`EventPatch`](crate::domain::EventPatch).

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use platform::page::Page;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cache::Render,
    domain::{Details, Event, EventStatus, Refusal, details::DEFAULT_MAX_SEATS_PER_BOOKING},
};

/// Status of a new event.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NewStatus {
    /// Seen by its organizer alone.
    Draft,
    /// Seen by everybody, and sold.
    #[default]
    Published,
}

/// A new event.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// One line, 1 to 200 characters.
    pub title: String,
    /// Any text, up to 5,000 characters.
    #[serde(default)]
    pub description: String,
    /// Where, 1 to 200 characters.
    pub venue: String,
    /// IANA zone of the venue, such as `Europe/Berlin`. Other names of a zone are replaced by the one in use.
    pub time_zone: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends: after its beginning, in the future.
    pub ends_at: DateTime<Utc>,
    /// Seats in all, 1 to 1,000,000.
    pub capacity: i64,
    /// Per seat, in minor units of `currency`, 0 to 99,999,999; 0 is free.
    pub price: i64,
    /// ISO 4217, such as `EUR`.
    pub currency: String,
    /// A category to filter by, ignoring case; up to 50 characters.
    #[serde(default)]
    pub category: Option<String>,
    /// A picture: an https address of up to 2,000 characters, without a user name or password.
    #[serde(default)]
    pub image_url: Option<String>,
    /// When sales begin; at once if absent.
    #[serde(default)]
    pub sales_start_at: Option<DateTime<Utc>>,
    /// When sales end; at the event's beginning if absent.
    #[serde(default)]
    pub sales_end_at: Option<DateTime<Utc>>,
    /// Seats that one booking may have, 1 to 100; 10 if absent.
    #[serde(default)]
    pub max_seats_per_booking: Option<i64>,
    /// Seats that one person may have, held and sold, 1 to 1,000,000. If absent, one person may hold as many seats as
    /// one booking may have, and buy any number. For a free event, that number limits held and sold seats together.
    // Not serialized if absent, so that the request has the same fingerprint on replicas that do not know the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seats_per_person: Option<i64>,
    /// `published` if absent.
    #[serde(default)]
    pub status: Option<NewStatus>,
}

impl NewEvent {
    /// Fails with all invalid fields.
    pub fn into_event(self, id: String, organizer_id: i32, now: DateTime<Utc>) -> Result<Event, Refusal> {
        let status = match self.status.unwrap_or_default() {
            NewStatus::Draft => EventStatus::Draft,
            NewStatus::Published => EventStatus::Published,
        };
        let details = Details {
            title: self.title,
            description: self.description,
            venue: self.venue,
            time_zone: self.time_zone,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            price: self.price,
            currency: self.currency,
            category: self.category,
            image_url: self.image_url,
            sales_start_at: self.sales_start_at,
            sales_end_at: self.sales_end_at,
            max_seats_per_booking: self.max_seats_per_booking.unwrap_or(DEFAULT_MAX_SEATS_PER_BOOKING),
            max_seats_per_person: self.max_seats_per_person,
        };
        Event::create(id, organizer_id, status, details, self.capacity, now)
    }
}

/// An event.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct EventResponse {
    /// Unique for ever.
    pub id: String,
    /// One line.
    pub title: String,
    /// Any text.
    pub description: String,
    /// Where.
    pub venue: String,
    /// IANA zone of the venue.
    pub time_zone: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
    /// Seats in all.
    pub capacity: i64,
    /// Seats that can still be had.
    pub available: i64,
    /// Seats held by bookings that are not paid yet.
    pub held: i64,
    /// Seats sold.
    pub sold: i64,
    /// Per seat, in minor units of `currency`; 0 is free.
    pub price: i64,
    /// ISO 4217.
    pub currency: String,
    /// To filter by.
    pub category: Option<String>,
    /// A picture.
    pub image_url: Option<String>,
    /// When sales begin; at once if null.
    pub sales_start_at: Option<DateTime<Utc>>,
    /// When sales end; at the event's beginning if null.
    pub sales_end_at: Option<DateTime<Utc>>,
    /// Seats that one booking may have.
    pub max_seats_per_booking: i64,
    /// Seats that one person may have, held and sold; null if the organizer sets no limit.
    pub max_seats_per_person: Option<i64>,
    /// Who sees it, and whether it is on.
    pub status: EventStatus,
    /// Who made it.
    pub organizer_id: i32,
    /// Grows with every change of the event or its counters.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its organizer last changed it.
    pub updated_at: DateTime<Utc>,
}

impl From<&Event> for EventResponse {
    fn from(event: &Event) -> Self {
        let details = event.details.clone();
        Self {
            id: event.id.clone(),
            title: details.title,
            description: details.description,
            venue: details.venue,
            time_zone: details.time_zone,
            starts_at: details.starts_at,
            ends_at: details.ends_at,
            capacity: event.capacity,
            available: event.available,
            held: event.held,
            sold: event.sold,
            price: details.price,
            currency: details.currency,
            category: details.category,
            image_url: details.image_url,
            sales_start_at: details.sales_start_at,
            sales_end_at: details.sales_end_at,
            max_seats_per_booking: details.max_seats_per_booking,
            max_seats_per_person: details.max_seats_per_person,
            status: event.status,
            organizer_id: event.organizer_id,
            version: event.version,
            created_at: event.created_at,
            updated_at: event.updated_at,
        }
    }
}

/// Renders events for the cache.
pub const RENDER: Render = Render { event: render_event, list: render_list };

fn render_event(event: &Event) -> Bytes {
    to_json(&EventResponse::from(event))
}

fn render_list(rows: Vec<Event>, limit: u32) -> Bytes {
    let page = Page::of(rows, limit, |last| (last.details.starts_at.timestamp_millis(), last.id.clone()));
    to_json(&page.map(|event| EventResponse::from(&event)))
}

fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("a response is plain data").into()
}
