//! A reservation: seats that one booking holds or has bought.

use chrono::{DateTime, Utc};
use contracts::reservation::{Hold, ReservationState, ReservationStatus};
use uuid::Uuid;

use super::event::Event;

/// One entry of the ledger. Its state goes held → confirmed | released and confirmed → released, and never back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reservation {
    /// Chosen by booking-service; never used again.
    pub id: Uuid,
    pub event_id: String,
    /// `None` if booking-service did not send it, as versions without limits per user.
    pub user_id: Option<i32>,
    /// 0 for a tombstone.
    pub seats: u32,
    pub state: ReservationState,
    /// Per seat in minor units of `currency`, as it was when the hold began.
    pub price: i64,
    pub currency: String,
    /// The event's version when the hold began; `None` for a tombstone, and where an older version stored it.
    pub event_version: Option<i64>,
    /// When the hold ends or ended; `None` for a tombstone.
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Reservation {
    /// What is stored when an unknown id is released, so that a late hold under that id is refused.
    pub(super) fn tombstone(id: Uuid, event_id: &str, now: DateTime<Utc>) -> Self {
        Self {
            id,
            event_id: event_id.to_owned(),
            user_id: None,
            seats: 0,
            state: ReservationState::Released,
            price: 0,
            currency: String::new(),
            event_version: None,
            expires_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    pub(super) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.state == ReservationState::Held && self.expires_at.is_some_and(|at| at <= now)
    }

    /// The response to confirm and release.
    pub fn status(&self) -> ReservationStatus {
        ReservationStatus { reservation_id: self.id, state: self.state, expires_at: self.expires_at }
    }

    /// The response to a hold.
    pub(super) fn hold(&self, event: &Event) -> Hold {
        Hold {
            reservation_id: self.id,
            seats: self.seats,
            expires_at: self.expires_at.unwrap_or(self.created_at),
            price: self.price,
            currency: self.currency.clone(),
            event_title: event.details.title.clone(),
            starts_at: event.details.starts_at,
            time_zone: event.details.time_zone.clone(),
            organizer_id: event.organizer_id,
            event_version: self.event_version,
        }
    }
}
