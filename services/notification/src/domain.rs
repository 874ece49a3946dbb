//! Notifications: what they are, and which message becomes which one. Pure.

use chrono::{DateTime, Utc};
use contracts::message::Message;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::texts::{self, Texts};

/// What a notification is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum NotificationType {
    /// Seats are sold and, if they cost anything, paid.
    #[serde(rename = "booking.confirmed")]
    BookingConfirmed,
    /// The booking ended by its owner's or the organizer's doing.
    #[serde(rename = "booking.cancelled")]
    BookingCancelled,
    /// The money went back.
    #[serde(rename = "booking.refunded")]
    BookingRefunded,
    /// The hold ran out unpaid.
    #[serde(rename = "booking.expired")]
    BookingExpired,
    /// The organizer changed what attendees were told.
    #[serde(rename = "event.changed")]
    EventChanged,
    /// The organizer called the event off.
    #[serde(rename = "event.cancelled")]
    EventCancelled,
}

impl NotificationType {
    /// Every type there is.
    pub const ALL: [Self; 6] = [
        Self::BookingConfirmed,
        Self::BookingCancelled,
        Self::BookingRefunded,
        Self::BookingExpired,
        Self::EventChanged,
        Self::EventCancelled,
    ];

    /// The word used in JSON, in the database and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BookingConfirmed => "booking.confirmed",
            Self::BookingCancelled => "booking.cancelled",
            Self::BookingRefunded => "booking.refunded",
            Self::BookingExpired => "booking.expired",
            Self::EventChanged => "event.changed",
            Self::EventCancelled => "event.cancelled",
        }
    }
}

/// A notification that is not stored yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewNotification {
    /// The id of the message it was made from: the same message makes the same notification.
    pub id: Uuid,
    /// Whom it is for.
    pub user_id: i32,
    /// What it is about.
    pub kind: NotificationType,
    /// The booking it is about.
    pub booking_id: i32,
    /// The event it is about.
    pub event_id: String,
    /// What it says.
    pub texts: Texts,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A stored notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The id of the message it was made from.
    pub id: Uuid,
    /// Whom it is for.
    pub user_id: i32,
    /// Its place among the user's notifications: 1, 2, 3…, without gaps.
    pub seq: i64,
    /// What it is about.
    pub kind: NotificationType,
    /// The booking it is about.
    pub booking_id: i32,
    /// The event it is about.
    pub event_id: String,
    /// What it says.
    pub texts: Texts,
    /// When its user read it, if it was read.
    pub read_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Where a user's notifications stand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// The place of the newest one; 0 if there is none.
    pub last_seq: i64,
    /// How many are unread.
    pub unread: i64,
}

/// What came of inserting a notification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Insertion {
    /// It has this place among the user's notifications.
    Stored(i64),
    /// It was stored before.
    Known,
    /// Nothing is stored for a deleted account.
    AccountDeleted,
}

/// A message that is addressed to services, not to a person.
#[derive(Debug, Error)]
#[error("{routing_key} is not addressed to a person")]
pub struct NotForPeople {
    routing_key: &'static str,
}

impl NewNotification {
    /// What a person is told about `message`, whose id is `id`.
    pub fn from_message(id: Uuid, message: &Message, now: DateTime<Utc>) -> Result<Self, NotForPeople> {
        use NotificationType as Type;
        let (kind, user_id, booking_id, event_id, texts) = match message {
            Message::BookingConfirmed(fact) => about(Type::BookingConfirmed, fact, texts::confirmed(fact)),
            Message::BookingCancelled(fact) => about(Type::BookingCancelled, fact, texts::cancelled(fact)),
            Message::BookingRefunded(fact) => about(Type::BookingRefunded, fact, texts::refunded(fact)),
            Message::BookingExpired(fact) => about(Type::BookingExpired, fact, texts::expired(fact)),
            Message::HolderEventChanged(fact) => {
                let texts = texts::event_changed(&fact.event);
                (Type::EventChanged, fact.user_id, fact.booking_id, fact.event.event_id.clone(), texts)
            }
            Message::HolderEventCancelled(fact) => {
                let texts = texts::event_cancelled(&fact.event);
                (Type::EventCancelled, fact.user_id, fact.booking_id, fact.event.event_id.clone(), texts)
            }
            Message::EventChanged(_) | Message::EventCancelled(_) | Message::UserDeleted(_) => {
                return Err(NotForPeople { routing_key: message.routing_key() });
            }
        };
        Ok(Self { id, user_id, kind, booking_id, event_id, texts, created_at: now })
    }
}

fn about(
    kind: NotificationType,
    fact: &contracts::message::BookingFact,
    texts: Texts,
) -> (NotificationType, i32, i32, String, Texts) {
    (kind, fact.user_id, fact.booking_id, fact.event_id.clone(), texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_type_is_its_json() {
        for kind in NotificationType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
