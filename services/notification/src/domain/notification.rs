//! Notifications, and which message becomes which notification.

use chrono::{DateTime, Utc};
use contracts::message::{BookingFact, HolderFact, Message};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};
use thiserror::Error;
use uuid::Uuid;

use super::texts::{self, Texts};

/// What a notification is about. Its text is the name in JSON, in the database and in metrics.
#[derive(Clone, Copy, Debug, Deserialize, Eq, IntoStaticStr, JsonSchema, PartialEq, Serialize, VariantArray)]
#[strum(const_into_str)]
pub enum NotificationType {
    /// Seats are sold and, if they cost anything, paid.
    #[serde(rename = "booking.confirmed")]
    #[strum(serialize = "booking.confirmed")]
    BookingConfirmed,
    /// The attendee or the organizer cancelled the booking.
    #[serde(rename = "booking.cancelled")]
    #[strum(serialize = "booking.cancelled")]
    BookingCancelled,
    /// The payment was refunded.
    #[serde(rename = "booking.refunded")]
    #[strum(serialize = "booking.refunded")]
    BookingRefunded,
    /// The hold expired before it was paid.
    #[serde(rename = "booking.expired")]
    #[strum(serialize = "booking.expired")]
    BookingExpired,
    /// The organizer changed details of the event.
    #[serde(rename = "event.changed")]
    #[strum(serialize = "event.changed")]
    EventChanged,
    /// The organizer cancelled the event.
    #[serde(rename = "event.cancelled")]
    #[strum(serialize = "event.cancelled")]
    EventCancelled,
}

/// A notification that is not stored yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewNotification {
    /// The id of its message: a redelivered message makes the same notification.
    pub id: Uuid,
    pub user_id: i32,
    pub kind: NotificationType,
    pub booking_id: i32,
    pub event_id: String,
    pub texts: Texts,
    pub created_at: DateTime<Utc>,
}

/// A stored notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The id of its message.
    pub id: Uuid,
    pub user_id: i32,
    /// Its sequence number among the user's notifications: 1, 2, 3…, without gaps.
    pub seq: i64,
    pub kind: NotificationType,
    pub booking_id: i32,
    pub event_id: String,
    pub texts: Texts,
    /// When it was first marked as read.
    pub read_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

/// Counters of a user's notifications.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// The sequence number of the newest one; 0 if there is none.
    pub last_seq: i64,
    pub unread: i64,
}

/// What an insert did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InsertOutcome {
    /// It was stored under this sequence number.
    Stored(i64),
    /// It was already stored.
    Duplicate,
    /// Nothing is stored for deleted accounts.
    AccountDeleted,
}

/// The message is for services, not for a user.
#[derive(Debug, Error)]
#[error("{routing_key} is not addressed to a user")]
pub struct NotForUsers {
    routing_key: &'static str,
}

impl NewNotification {
    /// The notification that `message`, whose id is `id`, becomes.
    pub fn from_message(id: Uuid, message: &Message, now: DateTime<Utc>) -> Result<Self, NotForUsers> {
        use NotificationType as Type;
        let (kind, user_id, booking_id, event_id, texts) = match message {
            Message::BookingConfirmed(booking) => {
                of_booking(Type::BookingConfirmed, booking, texts::confirmed(booking))
            }
            Message::BookingCancelled(booking) => {
                of_booking(Type::BookingCancelled, booking, texts::cancelled(booking))
            }
            Message::BookingRefunded(booking) => of_booking(Type::BookingRefunded, booking, texts::refunded(booking)),
            Message::BookingExpired(booking) => of_booking(Type::BookingExpired, booking, texts::expired(booking)),
            Message::HolderEventChanged(holder) => {
                of_event(Type::EventChanged, holder, texts::event_changed(&holder.event))
            }
            Message::HolderEventCancelled(holder) => {
                of_event(Type::EventCancelled, holder, texts::event_cancelled(&holder.event))
            }
            Message::EventChanged(_) | Message::EventCancelled(_) | Message::UserDeleted(_) => {
                return Err(NotForUsers { routing_key: message.routing_key() });
            }
        };
        Ok(Self { id, user_id, kind, booking_id, event_id, texts, created_at: now })
    }
}

type Parts = (NotificationType, i32, i32, String, Texts);

fn of_booking(kind: NotificationType, booking: &BookingFact, texts: Texts) -> Parts {
    (kind, booking.user_id, booking.booking_id, booking.event_id.clone(), texts)
}

fn of_event(kind: NotificationType, holder: &HolderFact, texts: Texts) -> Parts {
    (kind, holder.user_id, holder.booking_id, holder.event.event_id.clone(), texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_type_is_its_json() {
        for kind in NotificationType::VARIANTS {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.into_str());
        }
    }
}
