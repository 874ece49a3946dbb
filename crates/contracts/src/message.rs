//! Facts that travel over RabbitMQ: bodies, routing keys and the names of exchanges and queues.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantNames};

/// Topic exchange that every fact is published to.
pub const EXCHANGE: &str = "eventbooking";
/// Topic exchange that dead letters go through.
pub const DEAD_LETTER_EXCHANGE: &str = "eventbooking.dead";

/// A queue of a consuming service: its name (also the prefix of its dead-letter queue) and its bindings.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Name of the quorum queue; dead letters wait in `<name>.dead`.
    pub name: &'static str,
    /// Topic patterns bound to [`EXCHANGE`].
    pub bindings: &'static [&'static str],
    /// The loop that consumes it, in logs and metrics.
    pub consumer: &'static str,
}

/// What notification-service consumes about bookings and events.
pub const NOTIFICATION_QUEUE: Queue =
    Queue { name: "notification", bindings: &["booking.*", "holder.*"], consumer: "consumer" };
/// What notification-service consumes about accounts. A queue of its own: versions that do not know these messages
/// never receive them.
pub const NOTIFICATION_USER_QUEUE: Queue =
    Queue { name: "notification.user", bindings: &["user.*"], consumer: "user_consumer" };
/// What booking-service consumes about events.
pub const BOOKING_QUEUE: Queue = Queue { name: "booking", bindings: &["event.*"], consumer: "consumer" };
/// What booking-service consumes about accounts; a queue of its own for the same reason.
pub const BOOKING_USER_QUEUE: Queue = Queue { name: "booking.user", bindings: &["user.*"], consumer: "user_consumer" };
/// What event-service consumes about accounts; its only queue.
pub const EVENT_USER_QUEUE: Queue = Queue { name: "event.user", bindings: &["user.*"], consumer: "user_consumer" };
/// Every queue of notification-service.
pub const NOTIFICATION_QUEUES: [Queue; 2] = [NOTIFICATION_QUEUE, NOTIFICATION_USER_QUEUE];
/// Every queue of booking-service.
pub const BOOKING_QUEUES: [Queue; 2] = [BOOKING_QUEUE, BOOKING_USER_QUEUE];
/// Every queue of the platform.
pub const QUEUES: [Queue; 5] =
    [NOTIFICATION_QUEUE, NOTIFICATION_USER_QUEUE, BOOKING_QUEUE, BOOKING_USER_QUEUE, EVENT_USER_QUEUE];

/// A fact with a routing key of its own. The AMQP `message_id` names the single occurrence.
#[derive(Clone, Debug, Deserialize, IntoStaticStr, PartialEq, Serialize, VariantNames)]
#[serde(tag = "type")]
pub enum Message {
    /// Seats are sold and, if they cost anything, paid.
    #[serde(rename = "booking.confirmed")]
    #[strum(serialize = "booking.confirmed")]
    BookingConfirmed(BookingFact),
    /// The owner or the organizer cancelled the booking.
    #[serde(rename = "booking.cancelled")]
    #[strum(serialize = "booking.cancelled")]
    BookingCancelled(BookingFact),
    /// The payment was refunded.
    #[serde(rename = "booking.refunded")]
    #[strum(serialize = "booking.refunded")]
    BookingRefunded(BookingFact),
    /// The hold expired unpaid.
    #[serde(rename = "booking.expired")]
    #[strum(serialize = "booking.expired")]
    BookingExpired(BookingFact),
    /// The organizer changed the event.
    #[serde(rename = "event.changed")]
    #[strum(serialize = "event.changed")]
    EventChanged(EventFact),
    /// The organizer cancelled the event.
    #[serde(rename = "event.cancelled")]
    #[strum(serialize = "event.cancelled")]
    EventCancelled(EventFact),
    /// [`Message::EventChanged`], addressed to one holder of bookings.
    #[serde(rename = "holder.event_changed")]
    #[strum(serialize = "holder.event_changed")]
    HolderEventChanged(HolderFact),
    /// [`Message::EventCancelled`], addressed to one holder of bookings.
    #[serde(rename = "holder.event_cancelled")]
    #[strum(serialize = "holder.event_cancelled")]
    HolderEventCancelled(HolderFact),
    /// Somebody deleted their account.
    #[serde(rename = "user.deleted")]
    #[strum(serialize = "user.deleted")]
    UserDeleted(UserFact),
}

impl Message {
    /// The JSON `type` of every message. Any other type comes from a newer version.
    pub const TYPES: &[&str] = Self::VARIANTS;

    /// The topic routing key, the same word as the JSON `type`.
    pub fn routing_key(&self) -> &'static str {
        self.into()
    }
}

/// Why a booking was cancelled.
#[derive(Clone, Copy, Debug, Deserialize, EnumString, Eq, IntoStaticStr, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CancelReason {
    /// The owner cancelled.
    ByAttendee,
    /// The organizer cancelled the event.
    EventCancelled,
}

impl CancelReason {
    /// The word used in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A fact about one booking, for its owner.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct BookingFact {
    /// The booking.
    pub booking_id: i32,
    /// The owner.
    pub user_id: i32,
    /// The event.
    pub event_id: String,
    /// The event's title at the time.
    pub event_title: String,
    /// How many seats.
    pub seats: u32,
    /// What they cost together, minor units of `currency`.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// Only for cancellations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
}

/// What changed about an event, published by event-service.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EventFact {
    /// The event.
    pub event_id: String,
    /// Its title now.
    pub title: String,
    /// Its venue now.
    pub venue: String,
    /// Its start now.
    pub starts_at: DateTime<Utc>,
    /// Its end now.
    pub ends_at: DateTime<Utc>,
    /// IANA zone of the venue.
    pub time_zone: String,
    /// The names of the fields that changed since holders were last notified; empty for a cancellation.
    pub changed: Vec<String>,
    /// Grows with every change, so that an older message never overwrites a newer one.
    pub version: i64,
    /// The version of the last of those changes. Holders who booked at that version or later know of them. Older
    /// replicas do not send it; then `version` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_version: Option<i64>,
    /// Holders are notified later, together with further changes. Until then consumers only store the change.
    #[serde(rename = "untold", default, skip_serializing_if = "std::ops::Not::not")]
    pub unannounced: bool,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
}

impl EventFact {
    /// The version from which holders know of the change when they book.
    pub fn known_since_version(&self) -> i64 {
        self.edited_version.unwrap_or(self.version)
    }

    /// Whether the start or the venue changed since holders were last notified. They may then cancel until it starts.
    pub fn is_moved(&self) -> bool {
        self.changed.iter().any(|field| matches!(field.as_str(), "starts_at" | "venue"))
    }
}

/// An [`EventFact`] for one holder.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HolderFact {
    /// The holder to notify.
    pub user_id: i32,
    /// One of the holder's bookings of the event.
    pub booking_id: i32,
    /// What happened.
    pub event: EventFact,
}

/// What happened to an account. It carries no name and no address, because it stays in outboxes and queues for a while.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UserFact {
    /// The account.
    pub user_id: i32,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routing_key_is_the_type_in_the_body() {
        let fact = UserFact { user_id: 1, occurred_at: DateTime::UNIX_EPOCH };
        let message = Message::UserDeleted(fact);

        let body = serde_json::to_value(&message).expect("plain data");

        assert_eq!(body["type"], message.routing_key());
        assert!(Message::TYPES.contains(&message.routing_key()));
    }

    #[test]
    fn every_type_is_named_alike_in_the_body_and_as_routing_key() {
        for kind in Message::TYPES {
            let body = serde_json::json!({ "type": kind });
            let error = serde_json::from_value::<Message>(body).expect_err("the fields are missing").to_string();
            assert!(error.contains("missing field"), "{kind}: {error}");
        }
    }

    #[test]
    fn an_unannounced_change_is_marked_in_the_body_as_older_versions_mark_it() {
        let body = serde_json::json!({
            "event_id": "e", "title": "Concert", "venue": "Hall", "starts_at": "2030-01-01T19:00:00Z",
            "ends_at": "2030-01-01T22:00:00Z", "time_zone": "Europe/Berlin", "changed": [], "version": 2,
            "untold": true, "occurred_at": "2029-01-01T00:00:00Z",
        });

        let fact: EventFact = serde_json::from_value(body.clone()).expect("an older version's body");

        assert!(fact.unannounced);
        assert_eq!(serde_json::to_value(&fact).expect("plain data"), body);
    }

    #[test]
    fn every_type_reaches_a_queue() {
        for kind in Message::TYPES {
            let topic = kind.split_once('.').expect("a topic of two words").0;
            let pattern = format!("{topic}.*");
            assert!(QUEUES.iter().any(|queue| queue.bindings.contains(&pattern.as_str())), "{kind}");
        }
    }
}
