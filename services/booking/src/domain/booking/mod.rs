//! A booking, its state changes, and the rules for paying and cancelling it.

mod change;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::message::BookingFact;
use thiserror::Error;
use uuid::Uuid;

pub use self::change::{Change, ForbiddenTransition, Rejection};
use super::status::{BookingStatus, CancelReason, PaymentStatus};

#[derive(Clone, Debug)]
pub struct NewBooking {
    pub user_id: i32,
    /// Shown to the event's organizer, like the e-mail address.
    pub user_name: String,
    pub user_email: String,
    pub event_id: String,
    /// 1 to 100.
    pub seats: i32,
}

#[derive(Clone, Debug)]
pub struct Booking {
    pub id: i32,
    pub user_id: i32,
    pub event_id: String,
    pub status: BookingStatus,
    pub payment_status: PaymentStatus,
    pub created_at: DateTime<Utc>,
    pub seats: i32,
    /// Price of one seat in minor units; `None` until the seats are held.
    pub price: Option<i64>,
    /// Price of all seats in minor units; `None` until the seats are held.
    pub amount: Option<i64>,
    /// ISO 4217; `None` until the seats are held.
    pub currency: Option<String>,
    /// From the hold or the latest message about the event, like the start.
    pub event_title: Option<String>,
    pub event_starts_at: Option<DateTime<Utc>>,
    /// When the hold ends; `None` while it is unknown whether the seats are held.
    pub expires_at: Option<DateTime<Utc>>,
    /// The reservation in event-service.
    pub reservation_id: Uuid,
    /// A code of event-service or of this service.
    pub rejection_code: Option<String>,
    pub rejection_detail: Option<String>,
    pub cancel_reason: Option<CancelReason>,
    /// Whether the seats have yet to be released.
    pub release_pending: bool,
    /// Whether start or venue of the event changed after the seats were held.
    pub moved: bool,
}

impl Booking {
    /// The content of messages to the owner. The currency is XXX ("no currency") if seats were never held.
    pub fn fact(&self, now: DateTime<Utc>) -> BookingFact {
        BookingFact {
            booking_id: self.id,
            user_id: self.user_id,
            event_id: self.event_id.clone(),
            event_title: self.event_title.clone().unwrap_or_default(),
            seats: u32::try_from(self.seats).unwrap_or(0),
            amount: self.amount.unwrap_or(0),
            currency: self.currency.clone().unwrap_or_else(|| "XXX".to_owned()),
            reason: self.cancel_reason.map(Into::into),
            occurred_at: now,
        }
    }

    /// Amount and currency to pay, if the owner may start a payment attempt. `active_attempt` says that another attempt is
    /// unresolved or captured, `expired` that the hold ended by the database's clock.
    pub fn may_pay(&self, active_attempt: bool, expired: bool) -> Result<(i64, &str), PayRefusal> {
        match (self.status, self.payment_status) {
            (BookingStatus::Cancelled, _) => return Err(PayRefusal::Cancelled),
            (BookingStatus::Rejected, _) => return Err(PayRefusal::Rejected),
            (BookingStatus::Confirmed, _) | (_, PaymentStatus::Paid | PaymentStatus::Refunded) => {
                return Err(PayRefusal::AlreadyPaid);
            }
            (BookingStatus::Pending | BookingStatus::Expired, _) if active_attempt => {
                return Err(PayRefusal::InProgress);
            }
            (BookingStatus::Expired, _) => return Err(PayRefusal::Expired),
            (BookingStatus::Pending, _) => {}
        }
        let (Some(amount), Some(currency), Some(_)) = (self.amount, &self.currency, self.expires_at) else {
            return Err(PayRefusal::NotHeld);
        };
        if expired {
            return Err(PayRefusal::Expired);
        }
        if amount == 0 { Err(PayRefusal::Free) } else { Ok((amount, currency)) }
    }

    /// Until when the owner may cancel it once it is confirmed: `deadline` before the event starts, or until the start
    /// if the event was moved after the seats were held.
    pub fn cancellable_until(&self, deadline: TimeDelta) -> Option<DateTime<Utc>> {
        let deadline = if self.moved { TimeDelta::zero() } else { deadline };
        self.event_starts_at.map(|starts_at| starts_at - deadline)
    }

    /// Whether the owner may cancel it; `Ok(false)` if it is cancelled already.
    pub fn may_cancel(
        &self,
        active_attempt: bool,
        now: DateTime<Utc>,
        deadline: TimeDelta,
    ) -> Result<bool, CancelRefusal> {
        match self.status {
            BookingStatus::Cancelled => Ok(false),
            BookingStatus::Rejected => Err(CancelRefusal::Rejected),
            BookingStatus::Expired => Err(CancelRefusal::Expired),
            BookingStatus::Pending if active_attempt => Err(CancelRefusal::PaymentInProgress),
            BookingStatus::Pending => Ok(true),
            BookingStatus::Confirmed => {
                let in_time = self.cancellable_until(deadline).is_none_or(|until| now <= until);
                if in_time { Ok(true) } else { Err(CancelRefusal::DeadlinePassed) }
            }
        }
    }
}

/// Why a payment attempt cannot start.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PayRefusal {
    #[error("this booking is paid already")]
    AlreadyPaid,
    /// Another attempt is unresolved.
    #[error("another payment of this booking is under way; look at it before you try again")]
    InProgress,
    #[error("the hold on the seats ran out; book again")]
    Expired,
    #[error("this booking is cancelled")]
    Cancelled,
    #[error("this booking was rejected; book again")]
    Rejected,
    /// The amount is 0.
    #[error("this booking is free; it confirms by itself")]
    Free,
    /// It is unknown whether the seats are held.
    #[error("the seats of this booking are not held yet; try again in a moment")]
    NotHeld,
}

/// Why the owner cannot cancel a booking.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CancelRefusal {
    /// A ticket was used.
    #[error("a ticket of this booking was checked in already")]
    CheckedIn,
    /// A payment attempt is unresolved.
    #[error("a payment of this booking is under way; try again once it is decided")]
    PaymentInProgress,
    #[error("the time for cancelling this booking is over")]
    DeadlinePassed,
    #[error("this booking expired; there is nothing to cancel")]
    Expired,
    #[error("this booking was rejected; there is nothing to cancel")]
    Rejected,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn booking(status: BookingStatus, payment_status: PaymentStatus) -> Booking {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Booking {
            id: 1,
            user_id: 2,
            event_id: "e".to_owned(),
            status,
            payment_status,
            created_at: now,
            seats: 2,
            price: Some(500),
            amount: Some(1000),
            currency: Some("EUR".to_owned()),
            event_title: Some("Concert".to_owned()),
            event_starts_at: Some(now + TimeDelta::hours(48)),
            expires_at: Some(now),
            reservation_id: Uuid::nil(),
            rejection_code: None,
            rejection_detail: None,
            cancel_reason: None,
            release_pending: false,
            moved: false,
        }
    }

    #[test]
    fn only_a_pending_booking_with_held_seats_may_be_paid() {
        use BookingStatus::{Cancelled, Confirmed, Expired, Pending, Rejected};
        use PaymentStatus::{Failed, Paid, Unpaid};
        let may_pay =
            |status, payment, active, expired| booking(status, payment).may_pay(active, expired).map(|(a, _)| a);

        assert_eq!(may_pay(Pending, Unpaid, false, false), Ok(1000));
        assert_eq!(may_pay(Pending, Failed, false, false), Ok(1000));
        assert_eq!(may_pay(Pending, Unpaid, true, false), Err(PayRefusal::InProgress));
        assert_eq!(may_pay(Pending, Unpaid, false, true), Err(PayRefusal::Expired));
        assert_eq!(may_pay(Expired, Unpaid, false, true), Err(PayRefusal::Expired));
        assert_eq!(may_pay(Expired, Unpaid, true, true), Err(PayRefusal::InProgress));
        assert_eq!(may_pay(Confirmed, Paid, true, false), Err(PayRefusal::AlreadyPaid));
        assert_eq!(may_pay(Expired, PaymentStatus::Refunded, false, true), Err(PayRefusal::AlreadyPaid));
        assert_eq!(may_pay(Cancelled, Unpaid, false, false), Err(PayRefusal::Cancelled));
        assert_eq!(may_pay(Rejected, Unpaid, false, false), Err(PayRefusal::Rejected));
        let unheld = Booking { expires_at: None, ..booking(Pending, Unpaid) };
        assert_eq!(unheld.may_pay(false, false), Err(PayRefusal::NotHeld));
        let free = Booking { amount: Some(0), ..booking(Pending, Unpaid) };
        assert_eq!(free.may_pay(false, false), Err(PayRefusal::Free));
    }

    #[test]
    fn a_confirmed_booking_may_be_cancelled_until_the_deadline() {
        let booking = booking(BookingStatus::Confirmed, PaymentStatus::Paid);
        let last = booking.created_at + TimeDelta::hours(24);
        let may_cancel = |now| booking.may_cancel(true, now, TimeDelta::hours(24));

        assert_eq!(may_cancel(last), Ok(true));
        assert_eq!(may_cancel(last + TimeDelta::seconds(1)), Err(CancelRefusal::DeadlinePassed));
    }

    #[test]
    fn a_booking_of_a_moved_event_may_be_cancelled_until_it_starts() {
        let booking = Booking { moved: true, ..booking(BookingStatus::Confirmed, PaymentStatus::Paid) };
        let start = booking.created_at + TimeDelta::hours(48);
        let may_cancel = |now| booking.may_cancel(true, now, TimeDelta::hours(24));

        assert_eq!(may_cancel(start), Ok(true));
        assert_eq!(may_cancel(start + TimeDelta::seconds(1)), Err(CancelRefusal::DeadlinePassed));
    }
}
