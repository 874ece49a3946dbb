//! What this service's rows say against what the neighbours say of the same thing: sound, to be healed, or found.
//!
//! Both sides are read one after the other, so a row that changed a moment ago ([`Holding::settled`],
//! [`Claim::settled`]) says nothing yet and is left to the next cycle.

use contracts::reservation::{ReservationEntry, ReservationState};

use super::{
    charge::{ChargeState, ListedCharge},
    status::{AttemptState, BookingStatus, FindingKind, PaymentStatus},
};

/// A booking as far as its seats are concerned.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The booking.
    pub booking_id: i32,
    /// Its event.
    pub event_id: String,
    /// Its reservation.
    pub reservation_id: uuid::Uuid,
    /// Where it stands.
    pub status: BookingStatus,
    /// How many seats.
    pub seats: i32,
    /// Whether a payment of it is undecided, or charged and not settled, or its seats are about to be given back.
    pub under_way: bool,
    /// Whether it costs nothing.
    pub free: bool,
    /// Whether it has not changed for a while.
    pub settled: bool,
}

/// What to do about a booking and its reservation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeatsVerdict {
    /// Nothing.
    Sound,
    /// The booking ended: its seats have to go back.
    Release,
    /// The booking is Confirmed: its held seats have to be sold.
    Confirm,
    /// Nothing that is safe.
    Found(FindingKind),
}

/// Compares a booking with its reservation, either of which may be missing.
pub fn judge_seats(reservation: Option<&ReservationEntry>, booking: Option<&Holding>) -> SeatsVerdict {
    use BookingStatus::{Cancelled, Confirmed, Expired, Pending, Rejected};
    use SeatsVerdict::{Confirm, Found, Release, Sound};
    let taken = reservation.filter(|entry| entry.state != ReservationState::Released);
    let sold = taken.is_some_and(|entry| entry.state == ReservationState::Confirmed);
    let Some(booking) = booking else {
        // Seats that are only held end by their expiry.
        return if sold { Found(FindingKind::SeatsWithoutBooking) } else { Sound };
    };
    if !booking.settled {
        return Sound;
    }
    match (booking.status, taken) {
        (Confirmed, None) => Found(FindingKind::BookingWithoutSeats),
        (_, Some(taken)) if i64::from(taken.seats) != i64::from(booking.seats) => Found(FindingKind::SeatsDiffer),
        (Confirmed, Some(_)) => {
            if sold {
                Sound
            } else {
                Confirm
            }
        }
        // Whoever had them sold is about to store that, or else nobody pays for them.
        (Pending, _) if sold && !booking.under_way && !booking.free => Found(FindingKind::SeatsWithoutPayment),
        (Rejected | Cancelled | Expired, Some(_)) if !booking.under_way => Release,
        (Pending | Rejected | Cancelled | Expired, _) => Sound,
    }
}

/// An attempt to pay as far as its charge is concerned.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The booking that it pays.
    pub booking_id: i32,
    /// The gateway's name for the charge.
    pub gateway_id: String,
    /// Where it stands.
    pub state: AttemptState,
    /// Minor units.
    pub amount: i64,
    /// Whether it has not changed for a while.
    pub settled: bool,
}

/// What to do about a charge and its attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChargeVerdict {
    /// Nothing.
    Sound,
    /// The gateway has decided, and the attempt waits: a sweeper has to look.
    LookUp,
    /// Nothing that is safe.
    Found(FindingKind),
}

/// Compares a charge of ours at the gateway with the attempt that goes by its name.
pub fn judge_charge(charge: &ListedCharge, claim: Option<&Claim>) -> ChargeVerdict {
    use ChargeVerdict::{Found, LookUp, Sound};
    let charged = charge.charge.state == ChargeState::Succeeded;
    let Some(claim) = claim else {
        // A charge is confirmed only after its name is stored.
        return if charged { Found(FindingKind::ChargeWithoutPayment) } else { Sound };
    };
    match claim.state {
        // An attempt is stored as failed only when it can never charge.
        AttemptState::Failed if charged => Found(FindingKind::ChargeWithoutPayment),
        _ if !claim.settled => Sound,
        AttemptState::Started if charged || charge.charge.state == ChargeState::Cancelled => LookUp,
        AttemptState::Succeeded | AttemptState::Refunded if !charged => Found(FindingKind::PaymentWithoutCharge),
        AttemptState::Succeeded | AttemptState::Refunded if charge.amount != claim.amount => {
            Found(FindingKind::AmountsDiffer)
        }
        AttemptState::Started | AttemptState::Succeeded | AttemptState::Refunded | AttemptState::Failed => Sound,
    }
}

/// A booking, and how often its owner was told of each of its ends.
#[derive(Clone, Debug)]
pub struct Telling {
    /// The booking.
    pub booking_id: i32,
    /// Where it stands.
    pub status: BookingStatus,
    /// Where its money stands.
    pub payment_status: PaymentStatus,
    /// Whether it is so young that all its messages are still kept.
    pub recent: bool,
    /// Messages `booking.confirmed`.
    pub confirmed: i64,
    /// Messages `booking.cancelled`.
    pub cancelled: i64,
    /// Messages `booking.expired`.
    pub expired: i64,
    /// Messages `booking.refunded`.
    pub refunded: i64,
}

impl Telling {
    /// Whether every transition was told once and nothing else was told, as far as that is still known.
    pub fn is_sound(&self) -> bool {
        use BookingStatus::{Cancelled, Confirmed, Expired, Pending, Rejected};
        let (confirmed, cancelled, expired) = match self.status {
            Pending | Rejected => (0..=0, 0..=0, 0..=0),
            // It may have been won back after its hold ran out.
            Confirmed => (1..=1, 0..=0, 0..=1),
            Cancelled => (0..=1, 1..=1, 0..=1),
            Expired => (0..=0, 0..=0, 1..=1),
        };
        let refunded = i64::from(self.payment_status == PaymentStatus::Refunded);
        let sound = confirmed.contains(&self.confirmed)
            && cancelled.contains(&self.cancelled)
            && expired.contains(&self.expired)
            && self.refunded == refunded;
        sound || !self.recent
    }
}
