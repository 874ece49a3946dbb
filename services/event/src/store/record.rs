//! Documents of the database, and their conversion from and to the domain's types.

use bson::{DateTime, Document, doc};
use contracts::{reservation::ReservationState, text::FOLD_VERSION};
use mongodb::error::{Error, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{Details, Event, EventStatus, Reservation, search};

/// A document of `events`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct EventRecord {
    #[serde(rename = "_id")]
    id: String,
    organizer_id: i32,
    status: EventStatus,
    title: String,
    description: String,
    venue: String,
    time_zone: String,
    starts_at: DateTime,
    ends_at: DateTime,
    price: i64,
    currency: String,
    category: Option<String>,
    image_url: Option<String>,
    sales_start_at: Option<DateTime>,
    sales_end_at: Option<DateTime>,
    max_seats_per_booking: i64,
    max_seats_per_person: Option<i64>,
    capacity: i64,
    available: i64,
    held: i64,
    sold: i64,
    ever_sold: bool,
    version: i64,
    /// The search words of the event.
    words: Vec<String>,
    /// The search key of its category.
    category_key: Option<String>,
    /// The version of the text functions that made both; absent if a replica without search keys wrote the event.
    keys_version: Option<i32>,
    created_at: DateTime,
    updated_at: DateTime,
}

impl From<&Event> for EventRecord {
    fn from(event: &Event) -> Self {
        let details = event.details.clone();
        Self {
            id: event.id.clone(),
            organizer_id: event.organizer_id,
            status: event.status,
            words: search::event_words(&details),
            category_key: details.category.as_deref().map(search::category_key),
            keys_version: Some(FOLD_VERSION),
            title: details.title,
            description: details.description,
            venue: details.venue,
            time_zone: details.time_zone,
            starts_at: details.starts_at.into(),
            ends_at: details.ends_at.into(),
            price: details.price,
            currency: details.currency,
            category: details.category,
            image_url: details.image_url,
            sales_start_at: details.sales_start_at.map(Into::into),
            sales_end_at: details.sales_end_at.map(Into::into),
            max_seats_per_booking: details.max_seats_per_booking,
            max_seats_per_person: details.max_seats_per_person,
            capacity: event.capacity,
            available: event.available,
            held: event.held,
            sold: event.sold,
            ever_sold: event.ever_sold,
            version: event.version,
            created_at: event.created_at.into(),
            updated_at: event.updated_at.into(),
        }
    }
}

impl From<EventRecord> for Event {
    fn from(record: EventRecord) -> Self {
        Self {
            id: record.id,
            organizer_id: record.organizer_id,
            status: record.status,
            details: Details {
                title: record.title,
                description: record.description,
                venue: record.venue,
                time_zone: record.time_zone,
                starts_at: record.starts_at.into(),
                ends_at: record.ends_at.into(),
                price: record.price,
                currency: record.currency,
                category: record.category,
                image_url: record.image_url,
                sales_start_at: record.sales_start_at.map(Into::into),
                sales_end_at: record.sales_end_at.map(Into::into),
                max_seats_per_booking: record.max_seats_per_booking,
                max_seats_per_person: record.max_seats_per_person,
            },
            capacity: record.capacity,
            available: record.available,
            held: record.held,
            sold: record.sold,
            ever_sold: record.ever_sold,
            version: record.version,
            created_at: record.created_at.into(),
            updated_at: record.updated_at.into(),
        }
    }
}

/// The event's counters and version: a condition for an update, or the fields to set.
pub(super) fn counters(event: &Event) -> Document {
    doc! {
        "available": event.available, "held": event.held, "sold": event.sold, "ever_sold": event.ever_sold,
        "version": event.version,
    }
}

/// The search keys of an event as fields to set.
pub(super) fn search_keys(event: &Event) -> Document {
    let EventRecord { words, category_key, keys_version, .. } = event.into();
    doc! { "words": words, "category_key": category_key, "keys_version": keys_version }
}

/// A document of `reservations`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ReservationRecord {
    #[serde(rename = "_id")]
    id: String,
    event_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<i32>,
    seats: i64,
    state: ReservationState,
    price: i64,
    currency: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_version: Option<i64>,
    expires_at: Option<DateTime>,
    created_at: DateTime,
    updated_at: DateTime,
}

impl From<&Reservation> for ReservationRecord {
    fn from(reservation: &Reservation) -> Self {
        Self {
            id: reservation.id.to_string(),
            event_id: reservation.event_id.clone(),
            user_id: reservation.user_id,
            seats: reservation.seats.into(),
            state: reservation.state,
            price: reservation.price,
            currency: reservation.currency.clone(),
            event_version: reservation.event_version,
            expires_at: reservation.expires_at.map(Into::into),
            created_at: reservation.created_at.into(),
            updated_at: reservation.updated_at.into(),
        }
    }
}

impl TryFrom<ReservationRecord> for Reservation {
    type Error = Error;

    fn try_from(record: ReservationRecord) -> Result<Self> {
        Ok(Self {
            id: record.id.parse::<Uuid>().map_err(Error::custom)?,
            event_id: record.event_id,
            user_id: record.user_id,
            seats: u32::try_from(record.seats).map_err(Error::custom)?,
            state: record.state,
            price: record.price,
            currency: record.currency,
            event_version: record.event_version,
            expires_at: record.expires_at.map(Into::into),
            created_at: record.created_at.into(),
            updated_at: record.updated_at.into(),
        })
    }
}
