//! The states of bookings, payments and refunds. Each value has one text, used in the database, in JSON and in logs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

#[derive(Clone, Copy, Debug, Deserialize, EnumString, Eq, Hash, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[strum(const_into_str)]
#[cfg_attr(test, derive(VariantArray))]
pub enum BookingStatus {
    /// Seats are held or being requested, and not paid yet.
    Pending,
    /// Seats are sold.
    Confirmed,
    /// The seats could not be held.
    Rejected,
    /// The hold ended before it was paid.
    Expired,
    /// Cancelled by its owner or together with its event.
    Cancelled,
}

#[derive(Clone, Copy, Debug, Deserialize, EnumString, Eq, Hash, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[strum(const_into_str)]
#[cfg_attr(test, derive(VariantArray))]
pub enum PaymentStatus {
    /// Nothing has been charged.
    Unpaid,
    /// The price was charged, or there is none.
    Paid,
    /// The last attempt failed; another may follow.
    Failed,
    /// The price was refunded.
    Refunded,
}

/// State of a payment attempt.
#[derive(Clone, Copy, Debug, Deserialize, EnumString, Eq, Hash, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
#[cfg_attr(test, derive(VariantArray))]
pub enum AttemptState {
    /// The outcome is not known yet.
    Started,
    /// Charged.
    Succeeded,
    /// Not charged, and it never will be.
    Failed,
    /// Charged and refunded.
    Refunded,
}

#[derive(Clone, Copy, Debug, Deserialize, EnumString, Eq, Hash, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RefundState {
    /// Ordered; the gateway has not confirmed it yet.
    Pending,
    /// The gateway has returned the money.
    Succeeded,
}

#[derive(Clone, Copy, Debug, Deserialize, EnumString, Eq, Hash, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RefundReason {
    /// The owner cancelled the booking.
    ByAttendee,
    /// The organizer cancelled the event.
    EventCancelled,
    /// Charged, and the booking got no seats, for whatever cause: a cancelled event, too.
    SeatsLost,
}

#[derive(Clone, Copy, Debug, Deserialize, EnumString, Eq, Hash, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum CancelReason {
    /// The owner cancelled it.
    ByAttendee,
    /// The organizer cancelled the event.
    EventCancelled,
}

/// A mismatch that the reconciler reports and cannot repair.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum FindingKind {
    /// Confirmed seats that belong to no booking.
    SeatsWithoutBooking,
    /// Confirmed seats of a Pending booking without a payment under way.
    SeatsWithoutPayment,
    /// A Confirmed booking without a reservation.
    BookingWithoutSeats,
    /// A booking and its reservation have different numbers of seats.
    SeatsDiffer,
    /// The gateway took money that belongs to no payment attempt.
    ChargeWithoutPayment,
    /// A succeeded payment attempt without a succeeded charge.
    PaymentWithoutCharge,
    /// A payment attempt and its charge have different amounts.
    AmountsDiffer,
    /// The messages about a booking do not match its transitions.
    #[strum(serialize = "wrongly_told")]
    MessageMismatch,
    /// A Confirmed booking does not have exactly the tickets of its seats, or another booking has tickets.
    TicketsDiffer,
}

impl From<CancelReason> for contracts::message::CancelReason {
    fn from(reason: CancelReason) -> Self {
        match reason {
            CancelReason::ByAttendee => Self::ByAttendee,
            CancelReason::EventCancelled => Self::EventCancelled,
        }
    }
}

impl From<CancelReason> for RefundReason {
    fn from(reason: CancelReason) -> Self {
        match reason {
            CancelReason::ByAttendee => Self::ByAttendee,
            CancelReason::EventCancelled => Self::EventCancelled,
        }
    }
}

impl BookingStatus {
    /// Whether a booking may change from this status to `to`.
    pub fn allows(self, to: Self) -> bool {
        use BookingStatus::{Cancelled, Confirmed, Expired, Pending, Rejected};
        matches!(
            (self, to),
            (Pending, Confirmed | Rejected | Expired | Cancelled) | (Expired, Confirmed) | (Confirmed, Cancelled)
        )
    }
}

impl PaymentStatus {
    /// Whether a booking may change from this payment status to `to`.
    pub fn allows(self, to: Self) -> bool {
        use PaymentStatus::{Failed, Paid, Refunded, Unpaid};
        matches!((self, to), (Unpaid, Paid | Failed) | (Failed, Paid) | (Paid, Refunded))
    }
}

impl AttemptState {
    /// Whether a payment attempt may change from this state to `to`.
    pub fn allows(self, to: Self) -> bool {
        use AttemptState::{Failed, Refunded, Started, Succeeded};
        matches!((self, to), (Started, Succeeded | Failed) | (Succeeded, Refunded))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
        prop::sample::select(all)
    }

    #[test]
    fn only_the_documented_transitions_are_allowed() {
        let next = |from: BookingStatus| -> Vec<&str> {
            BookingStatus::VARIANTS.iter().filter(|to| from.allows(**to)).map(BookingStatus::into_str).collect()
        };

        assert_eq!(next(BookingStatus::Pending), ["Confirmed", "Rejected", "Expired", "Cancelled"]);
        assert_eq!(next(BookingStatus::Expired), ["Confirmed"]);
        assert_eq!(next(BookingStatus::Confirmed), ["Cancelled"]);
        assert!(next(BookingStatus::Rejected).is_empty() && next(BookingStatus::Cancelled).is_empty());
        let next = |from: PaymentStatus| -> Vec<&str> {
            PaymentStatus::VARIANTS.iter().filter(|to| from.allows(**to)).map(PaymentStatus::into_str).collect()
        };
        assert_eq!(next(PaymentStatus::Unpaid), ["Paid", "Failed"]);
        assert_eq!(next(PaymentStatus::Failed), ["Paid"]);
        assert_eq!(next(PaymentStatus::Paid), ["Refunded"]);
        assert!(next(PaymentStatus::Refunded).is_empty());
    }

    proptest! {
        #[test]
        fn every_state_parses_from_its_text(status in any_of(BookingStatus::VARIANTS), state in any_of(AttemptState::VARIANTS)) {
            prop_assert_eq!(status.into_str().parse(), Ok(status));
            prop_assert_eq!(state.into_str().parse(), Ok(state));
            prop_assert_eq!(serde_json::to_value(status).unwrap(), status.into_str());
        }

        #[test]
        fn a_booking_never_returns_to_a_status_or_leaves_a_final_one(targets in prop::collection::vec(any_of(BookingStatus::VARIANTS), 0..20)) {
            let (mut now, mut seen) = (BookingStatus::Pending, vec![BookingStatus::Pending]);
            for target in targets {
                if now.allows(target) {
                    prop_assert!(!seen.contains(&target));
                    prop_assert!(!matches!(now, BookingStatus::Rejected | BookingStatus::Cancelled));
                    seen.push(target);
                    now = target;
                }
            }
            prop_assert!(seen.len() <= 4);
        }

        #[test]
        fn a_booking_is_refunded_only_after_it_was_paid(targets in prop::collection::vec(any_of(PaymentStatus::VARIANTS), 0..20)) {
            let mut seen = vec![PaymentStatus::Unpaid];
            for target in targets {
                if seen[seen.len() - 1].allows(target) {
                    prop_assert!(target != PaymentStatus::Refunded || seen.contains(&PaymentStatus::Paid));
                    seen.push(target);
                }
            }
        }

        #[test]
        fn a_failed_attempt_is_final_and_none_starts_twice(targets in prop::collection::vec(any_of(AttemptState::VARIANTS), 0..20)) {
            let mut now = AttemptState::Started;
            for target in targets {
                if now.allows(target) {
                    prop_assert!(now != AttemptState::Failed && target != AttemptState::Started);
                    now = target;
                }
            }
        }
    }
}
