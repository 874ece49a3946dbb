//! The REST bodies by which booking-service holds, confirms and releases seats in event-service.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

/// The header with the milliseconds that the caller of [`DecreaseCapacity`] still waits. A hold that cannot be committed
/// by then is refused as overloaded, before it begins. A duration, because clocks differ.
pub const DEADLINE: &str = "x-deadline-ms";

/// Whether a text can be the id of an event. Other texts must not become part of a path.
pub fn is_event_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Body of `PUT /api/events/{event_id}/decrease_capacity`. Idempotent by `reservation_id`.
/// It takes available seats; the event's `capacity`, its seats in all, stays.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DecreaseCapacity {
    /// Chosen by the caller, never used again.
    pub reservation_id: Uuid,
    /// How many seats, at least 1.
    pub seats: u32,
    /// How long the seats are held unless confirmed, 1 to 86,400 seconds.
    pub hold_seconds: u32,
    /// The owner of the seats, for the limits per person. Without it they count towards no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i32>,
    /// The seats are paid for already: the limit on held seats does not apply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paid: bool,
}

/// Answer to [`DecreaseCapacity`]: the seats are held. Price and currency were read in the same transaction.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Hold {
    /// As requested.
    pub reservation_id: Uuid,
    /// As requested.
    pub seats: u32,
    /// When the hold ends, by event-service's database clock.
    pub expires_at: DateTime<Utc>,
    /// Per seat, in minor units of `currency`; 0 is free.
    pub price: i64,
    /// ISO 4217.
    pub currency: String,
    /// For messages and lists.
    pub event_title: String,
    /// When the event starts; cancellation deadlines count from it.
    pub starts_at: DateTime<Utc>,
    /// IANA zone of the venue.
    pub time_zone: String,
    /// Who runs the event, and may see its attendees.
    pub organizer_id: i32,
    /// The event's version at that time; changes with a higher one came later. Older replicas do not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_version: Option<i64>,
}

/// Body of `PUT /api/events/{event_id}/reservations/{reservation_id}/release`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseSeats {
    /// Release the hold only if it has expired by event-service's database clock.
    #[serde(default)]
    pub only_expired: bool,
}

/// State of a reservation: held → confirmed | released; confirmed → released.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReservationState {
    /// Seats are taken until the hold ends.
    Held,
    /// Seats are sold.
    Confirmed,
    /// The seats were given back; the id is never used again.
    Released,
}

/// Answer to confirm and release: the state of the reservation.
///
/// Confirming a released reservation is refused with 409 `reservation_released`, confirming seats of a cancelled
/// event with 409 `event_cancelled`, confirming an unknown id with 404 `reservation_not_found`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ReservationStatus {
    /// The reservation.
    pub reservation_id: Uuid,
    /// The state after the request.
    pub state: ReservationState,
    /// When its hold ends or ended; absent for a tombstone of an id that was never held.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A reservation as `GET /api/events/reservations` lists it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ReservationEntry {
    /// The reservation.
    pub reservation_id: Uuid,
    /// Its event.
    pub event_id: String,
    /// How many seats; 0 for a tombstone.
    pub seats: u32,
    /// Its state.
    pub state: ReservationState,
}

/// Answer to `GET /api/events/reservations?after=&limit=`: reservations of all events and states, by id.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ReservationPage {
    /// Those with ids above `after`.
    pub items: Vec<ReservationEntry>,
    /// The `after` of the next page; null on the last one.
    pub next_after: Option<Uuid>,
}

/// Why event-service refuses a request about seats: the `code` of its problem.
#[derive(Clone, Copy, Debug, EnumString, Eq, IntoStaticStr, PartialEq)]
#[strum(serialize_all = "snake_case")]
pub enum RefusalCode {
    /// Not enough seats are left.
    SoldOut,
    /// The organizer cancelled the event.
    EventCancelled,
    /// Sales are over.
    SalesClosed,
    /// Sales have not begun.
    SalesNotOpen,
    /// There is no such event, as far as attendees can see.
    EventNotFound,
    /// More seats than the event allows for one booking.
    TooManySeats,
    /// The person holds as many unpaid seats of the event as allowed. This refusal is temporary.
    HeldSeatsLimit,
    /// The person has as many seats of the event as allowed.
    PersonLimitReached,
    /// The reservation is released; its id is never used again.
    ReservationReleased,
    /// The reservation exists with another number of seats.
    ReservationMismatch,
    /// There is no such reservation.
    ReservationNotFound,
}

impl RefusalCode {
    /// The `code` of the problem.
    pub fn code(self) -> &'static str {
        self.into()
    }

    /// The refusal of that code, if it is one.
    pub fn parse(code: &str) -> Option<Self> {
        code.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_can_be_part_of_a_path() {
        assert!(is_event_id("0b5e-_9") && is_event_id(&"a".repeat(64)));
        for other in ["", "a/b", "..", "a b", "a?b", "é", &"a".repeat(65)] {
            assert!(!is_event_id(other), "{other}");
        }
    }

    #[test]
    fn a_refusal_is_read_by_its_code() {
        assert_eq!(RefusalCode::HeldSeatsLimit.code(), "held_seats_limit");
        assert_eq!(RefusalCode::parse("sold_out"), Some(RefusalCode::SoldOut));
        assert_eq!(RefusalCode::parse("invalid_json"), None);
    }
}
