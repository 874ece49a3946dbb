//! Comparison of this service's rows with event-service's reservations, the gateway's charges, the outbox and the
//! tickets.
//!
//! The two sides are read one after the other. A row that changed a moment ago may differ for that reason alone; it is
//! not comparable yet, and left to the next cycle.

use contracts::reservation::{ReservationEntry, ReservationState};

use super::{
    charge::{ChargeState, ListedCharge},
    status::{AttemptState, BookingStatus, FindingKind, PaymentStatus},
};

/// The part of a booking that is compared with its reservation.
#[derive(Clone, Debug)]
pub struct HeldReservation {
    pub booking_id: i32,
    pub event_id: String,
    pub reservation_id: uuid::Uuid,
    pub status: BookingStatus,
    pub seats: i32,
    /// Whether a payment is undecided or charged and not settled, or a release of the seats is pending.
    pub under_way: bool,
    /// Whether the amount is 0.
    pub free: bool,
    /// Whether its last change is old enough.
    pub comparable: bool,
}

/// What to do about a booking and its reservation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReservationVerdict {
    Consistent,
    /// The booking ended: release its seats.
    Release,
    /// The booking is Confirmed: confirm its held seats.
    Confirm,
    /// Nothing can be repaired safely.
    Finding(FindingKind),
}

/// Compares a booking with its reservation; either may be missing.
pub fn compare_reservation(
    reservation: Option<&ReservationEntry>,
    booking: Option<&HeldReservation>,
) -> ReservationVerdict {
    use BookingStatus::{Cancelled, Confirmed, Expired, Pending, Rejected};
    use ReservationVerdict::{Confirm, Consistent, Finding, Release};
    let taken = reservation.filter(|entry| entry.state != ReservationState::Released);
    let sold = taken.is_some_and(|entry| entry.state == ReservationState::Confirmed);
    let Some(booking) = booking else {
        // Seats that are only held expire by themselves.
        return if sold { Finding(FindingKind::SeatsWithoutBooking) } else { Consistent };
    };
    if !booking.comparable {
        return Consistent;
    }
    match (booking.status, taken) {
        (Confirmed, None) => Finding(FindingKind::BookingWithoutSeats),
        (_, Some(taken)) if i64::from(taken.seats) != i64::from(booking.seats) => Finding(FindingKind::SeatsDiffer),
        (Confirmed, Some(_)) if !sold => Confirm,
        // With a payment under way, or for a free booking, the confirmation is about to be stored.
        (Pending, _) if sold && !booking.under_way && !booking.free => Finding(FindingKind::SeatsWithoutPayment),
        (Rejected | Cancelled | Expired, Some(_)) if !booking.under_way => Release,
        (Confirmed | Pending | Rejected | Cancelled | Expired, _) => Consistent,
    }
}

/// The part of a payment attempt that is compared with its charge.
#[derive(Clone, Debug)]
pub struct PaymentRecord {
    pub booking_id: i32,
    /// The gateway's id of the charge.
    pub gateway_id: String,
    pub state: AttemptState,
    /// Minor units.
    pub amount: i64,
    /// Whether its last change is old enough.
    pub comparable: bool,
}

/// What to do about a charge and its payment attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChargeVerdict {
    Consistent,
    /// The gateway has decided, and the attempt does not know: fetch the charge.
    FetchCharge,
    /// Nothing can be repaired safely.
    Finding(FindingKind),
}

/// Compares a charge at the gateway with the payment attempt that has its id.
pub fn compare_charge(charge: &ListedCharge, payment: Option<&PaymentRecord>) -> ChargeVerdict {
    use ChargeVerdict::{Consistent, FetchCharge, Finding};
    let charged = charge.charge.state == ChargeState::Succeeded;
    let Some(payment) = payment else {
        // A charge is confirmed only after its id is stored.
        return if charged { Finding(FindingKind::ChargeWithoutPayment) } else { Consistent };
    };
    match payment.state {
        // An attempt is stored as failed only when it can never charge.
        AttemptState::Failed if charged => Finding(FindingKind::ChargeWithoutPayment),
        _ if !payment.comparable => Consistent,
        AttemptState::Started if charged || charge.charge.state == ChargeState::Cancelled => FetchCharge,
        AttemptState::Succeeded | AttemptState::Refunded if !charged => Finding(FindingKind::PaymentWithoutCharge),
        AttemptState::Succeeded | AttemptState::Refunded if charge.amount != payment.amount => {
            Finding(FindingKind::AmountsDiffer)
        }
        AttemptState::Started | AttemptState::Succeeded | AttemptState::Refunded | AttemptState::Failed => Consistent,
    }
}

/// A booking, and how many messages of each type the outbox has about it.
#[derive(Clone, Debug)]
pub struct MessageAudit {
    pub booking_id: i32,
    pub status: BookingStatus,
    pub payment_status: PaymentStatus,
    /// Whether the booking is young enough that all of its messages are still stored.
    pub recent: bool,
    pub confirmed: i64,
    pub cancelled: i64,
    pub expired: i64,
    pub refunded: i64,
}

impl MessageAudit {
    /// Whether every transition has exactly one message and there are no others, as far as messages are still stored.
    pub fn is_consistent(&self) -> bool {
        use BookingStatus::{Cancelled, Confirmed, Expired, Pending, Rejected};
        let (confirmed, cancelled, expired) = match self.status {
            Pending | Rejected => (0..=0, 0..=0, 0..=0),
            // A late payment may have won back the seats of an expired booking.
            Confirmed => (1..=1, 0..=0, 0..=1),
            Cancelled => (0..=1, 1..=1, 0..=1),
            Expired => (0..=0, 0..=0, 1..=1),
        };
        let refunded = i64::from(self.payment_status == PaymentStatus::Refunded);
        let consistent = confirmed.contains(&self.confirmed)
            && cancelled.contains(&self.cancelled)
            && expired.contains(&self.expired)
            && self.refunded == refunded;
        consistent || !self.recent
    }
}

/// A booking, and its tickets that are not void.
#[derive(Clone, Debug)]
pub struct TicketAudit {
    pub booking_id: i32,
    pub status: BookingStatus,
    pub seats: i32,
    /// The seats of these tickets, ascending.
    pub ticket_seats: Vec<i32>,
    /// Whether the backfill has yet to come to the booking.
    pub awaits_backfill: bool,
}

impl TicketAudit {
    /// Whether a Confirmed booking has one ticket for each of its seats, and any other booking none.
    pub fn is_consistent(&self) -> bool {
        match self.status {
            BookingStatus::Confirmed => self.awaits_backfill || self.ticket_seats.iter().copied().eq(1..=self.seats),
            BookingStatus::Pending | BookingStatus::Rejected | BookingStatus::Cancelled | BookingStatus::Expired => {
                self.ticket_seats.is_empty()
            }
        }
    }
}
