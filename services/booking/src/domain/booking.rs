//! A booking, the changes it may go through, and who may do what to it when.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::message::BookingFact;
use thiserror::Error;
use uuid::Uuid;

use super::status::{BookingStatus, CancelReason, PaymentStatus};

/// Who books what.
#[derive(Clone, Debug)]
pub struct NewBooking {
    /// The owner.
    pub user_id: i32,
    /// The owner's name, kept for the organizer's list.
    pub user_name: String,
    /// The owner's e-mail address, kept for the organizer's list.
    pub user_email: String,
    /// The event.
    pub event_id: String,
    /// How many seats, 1 to 100.
    pub seats: i32,
}

/// A booking as stored.
#[derive(Clone, Debug)]
pub struct Booking {
    /// Its number.
    pub id: i32,
    /// The owner.
    pub user_id: i32,
    /// The event.
    pub event_id: String,
    /// Where it stands.
    pub status: BookingStatus,
    /// Where its money stands.
    pub payment_status: PaymentStatus,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// How many seats.
    pub seats: i32,
    /// Price of a seat in minor units; `None` until the seats are held.
    pub price: Option<i64>,
    /// Price of all seats in minor units; `None` until the seats are held.
    pub amount: Option<i64>,
    /// ISO 4217; `None` until the seats are held.
    pub currency: Option<String>,
    /// The event's title as last told.
    pub event_title: Option<String>,
    /// The event's start as last told.
    pub event_starts_at: Option<DateTime<Utc>>,
    /// When the hold ends; `None` while it is not known whether the seats are held.
    pub expires_at: Option<DateTime<Utc>>,
    /// The reservation in event-service.
    pub reservation_id: Uuid,
    /// Why it was rejected: a code of event-service or of ours.
    pub rejection_code: Option<String>,
    /// The same in words.
    pub rejection_detail: Option<String>,
    /// Why it was cancelled.
    pub cancel_reason: Option<CancelReason>,
    /// Whether the seats have still to be given back.
    pub release_pending: bool,
    /// Whether start or venue of the event changed since the seats were taken.
    pub moved: bool,
}

/// A transition that the design does not know.
#[derive(Debug, Error)]
#[error("booking {booking_id} may not go from {from} to {to}")]
pub struct ForbiddenTransition {
    booking_id: i32,
    from: &'static str,
    to: &'static str,
}

/// Why seats could not be held.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Stable word.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

/// A change of a booking, checked against the table of transitions. The store applies it as a compare-and-set on the
/// state it starts from.
#[derive(Clone, Debug)]
pub struct Change {
    /// The booking.
    pub booking_id: i32,
    /// The reservation that the decision was based on.
    pub reservation_id: Uuid,
    /// Status before and after.
    pub status: (BookingStatus, BookingStatus),
    /// Payment status before and after.
    pub payment_status: (PaymentStatus, PaymentStatus),
    /// Set by a rejection.
    pub rejection: Option<Rejection>,
    /// Set by a cancellation.
    pub cancel_reason: Option<CancelReason>,
    /// Whether the seats have to be given back from now on.
    pub release: bool,
}

impl Change {
    fn none(booking: &Booking) -> Self {
        Self {
            booking_id: booking.id,
            reservation_id: booking.reservation_id,
            status: (booking.status, booking.status),
            payment_status: (booking.payment_status, booking.payment_status),
            rejection: None,
            cancel_reason: None,
            release: false,
        }
    }

    /// The same change, with the money going to `to` as well.
    pub fn with_payment(mut self, to: PaymentStatus) -> Result<Self, ForbiddenTransition> {
        let from = self.payment_status.0;
        if !from.allows(to) {
            return Err(ForbiddenTransition { booking_id: self.booking_id, from: from.as_str(), to: to.as_str() });
        }
        self.payment_status.1 = to;
        Ok(self)
    }

    /// The same change, with the seats to be given back afterwards.
    #[must_use]
    pub fn with_release(self) -> Self {
        Self { release: true, ..self }
    }

    fn with_status(mut self, to: BookingStatus) -> Result<Self, ForbiddenTransition> {
        let from = self.status.0;
        if !from.allows(to) {
            return Err(ForbiddenTransition { booking_id: self.booking_id, from: from.as_str(), to: to.as_str() });
        }
        self.status.1 = to;
        Ok(self)
    }
}

impl Booking {
    /// Seats sold and paid.
    pub fn confirm(&self) -> Result<Change, ForbiddenTransition> {
        Change::none(self).with_status(BookingStatus::Confirmed)?.with_payment(PaymentStatus::Paid)
    }

    /// Seats could not be held.
    pub fn reject(&self, rejection: Rejection) -> Result<Change, ForbiddenTransition> {
        let change = Change::none(self).with_status(BookingStatus::Rejected)?;
        Ok(Change { rejection: Some(rejection), ..change })
    }

    /// The hold ran out.
    pub fn expire(&self) -> Result<Change, ForbiddenTransition> {
        Change::none(self).with_status(BookingStatus::Expired)
    }

    /// Ended by somebody; the seats go back.
    pub fn cancel(&self, reason: CancelReason) -> Result<Change, ForbiddenTransition> {
        let change = Change::none(self).with_status(BookingStatus::Cancelled)?.with_release();
        Ok(Change { cancel_reason: Some(reason), ..change })
    }

    /// Only the money moves.
    pub fn pay(&self, to: PaymentStatus) -> Result<Change, ForbiddenTransition> {
        Change::none(self).with_payment(to)
    }

    /// What its owner is told. The currency is XXX ("no currency") where seats were never held.
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

    /// Whether its owner may start an attempt to pay. `expired` by the database's clock.
    pub fn may_pay(&self, live_attempt: bool, expired: bool) -> Result<(i64, &str), PayRefusal> {
        match (self.status, self.payment_status) {
            (BookingStatus::Cancelled, _) => return Err(PayRefusal::Cancelled),
            (BookingStatus::Rejected, _) => return Err(PayRefusal::Rejected),
            (BookingStatus::Confirmed, _) | (_, PaymentStatus::Paid | PaymentStatus::Refunded) => {
                return Err(PayRefusal::AlreadyPaid);
            }
            (BookingStatus::Pending | BookingStatus::Expired, _) if live_attempt => return Err(PayRefusal::InProgress),
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

    /// Until when its owner may cancel it once it is confirmed: `deadline` before the event starts, or until it starts
    /// if the event was moved after the seats were taken.
    pub fn cancellable_until(&self, deadline: TimeDelta) -> Option<DateTime<Utc>> {
        let deadline = if self.moved { TimeDelta::zero() } else { deadline };
        self.event_starts_at.map(|starts_at| starts_at - deadline)
    }

    /// Whether its owner may cancel it: `Ok(false)` says that it is cancelled already.
    pub fn may_cancel(
        &self,
        live_attempt: bool,
        now: DateTime<Utc>,
        deadline: TimeDelta,
    ) -> Result<bool, CancelRefusal> {
        match self.status {
            BookingStatus::Cancelled => Ok(false),
            BookingStatus::Rejected => Err(CancelRefusal::Rejected),
            BookingStatus::Expired => Err(CancelRefusal::Expired),
            BookingStatus::Pending if live_attempt => Err(CancelRefusal::PaymentInProgress),
            BookingStatus::Pending => Ok(true),
            BookingStatus::Confirmed => {
                let in_time = self.cancellable_until(deadline).is_none_or(|until| now <= until);
                if in_time { Ok(true) } else { Err(CancelRefusal::DeadlinePassed) }
            }
        }
    }
}

/// Why an attempt to pay is not started.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PayRefusal {
    /// Paid before.
    #[error("this booking is paid already")]
    AlreadyPaid,
    /// Another attempt is not decided yet.
    #[error("another payment of this booking is under way; look at it before you try again")]
    InProgress,
    /// The hold ran out.
    #[error("the hold on the seats ran out; book again")]
    Expired,
    /// Ended by somebody.
    #[error("this booking is cancelled")]
    Cancelled,
    /// Seats were never held.
    #[error("this booking was rejected; book again")]
    Rejected,
    /// It costs nothing.
    #[error("this booking is free; it confirms by itself")]
    Free,
    /// Not known yet whether the seats are held.
    #[error("the seats of this booking are not held yet; try again in a moment")]
    NotHeld,
}

/// Why a booking is not cancelled.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CancelRefusal {
    /// A payment is not decided yet.
    #[error("a payment of this booking is under way; try again once it is decided")]
    PaymentInProgress,
    /// Too close to the event.
    #[error("the time for cancelling this booking is over")]
    DeadlinePassed,
    /// The hold ran out.
    #[error("this booking expired; there is nothing to cancel")]
    Expired,
    /// Seats were never held.
    #[error("this booking was rejected; there is nothing to cancel")]
    Rejected,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booking(status: BookingStatus, payment_status: PaymentStatus) -> Booking {
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
    fn every_change_follows_the_table_of_transitions() {
        for status in BookingStatus::ALL.iter().copied() {
            for payment_status in PaymentStatus::ALL.iter().copied() {
                let booking = booking(status, payment_status);
                let rejection = Rejection { code: "sold_out", detail: String::new() };
                let changes = [
                    booking.confirm(),
                    booking.reject(rejection),
                    booking.expire(),
                    booking.cancel(CancelReason::ByAttendee),
                    booking.pay(PaymentStatus::Paid),
                    booking.pay(PaymentStatus::Refunded),
                ];
                for change in changes.into_iter().flatten() {
                    assert!(change.status.0 == change.status.1 || change.status.0.allows(change.status.1));
                    let (from, to) = change.payment_status;
                    assert!(from == to || from.allows(to));
                    assert_eq!((change.status.0, from), (status, payment_status));
                }
            }
        }
    }

    #[test]
    fn only_a_pending_booking_with_held_seats_may_be_paid() {
        use BookingStatus::{Cancelled, Confirmed, Expired, Pending, Rejected};
        use PaymentStatus::{Failed, Paid, Unpaid};
        let may_pay = |status, payment, live, over| booking(status, payment).may_pay(live, over).map(|(a, _)| a);

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
    fn a_confirmed_booking_may_be_cancelled_up_to_the_very_deadline() {
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
