//! The states of bookings, payments and refunds. Each value has one text, used in the database, in JSON and in logs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }
    };
}

text_enum! {
    BookingStatus {
        /// Seats are held or being requested, and not paid yet.
        Pending = "Pending",
        /// Seats are sold.
        Confirmed = "Confirmed",
        /// The seats could not be held.
        Rejected = "Rejected",
        /// The hold ended before it was paid.
        Expired = "Expired",
        /// Cancelled by its owner or together with its event.
        Cancelled = "Cancelled",
    }
}

text_enum! {
    PaymentStatus {
        /// Nothing has been charged.
        Unpaid = "Unpaid",
        /// The price was charged, or there is none.
        Paid = "Paid",
        /// The last attempt failed; another may follow.
        Failed = "Failed",
        /// The price was refunded.
        Refunded = "Refunded",
    }
}

text_enum! {
    /// State of a payment attempt.
    AttemptState {
        /// The outcome is not known yet.
        Started = "started",
        /// Charged.
        Succeeded = "succeeded",
        /// Not charged, and it never will be.
        Failed = "failed",
        /// Charged and refunded.
        Refunded = "refunded",
    }
}

text_enum! {
    RefundState {
        /// Ordered; the gateway has not confirmed it yet.
        Pending = "pending",
        /// The gateway has returned the money.
        Succeeded = "succeeded",
    }
}

text_enum! {
    RefundReason {
        /// The owner cancelled the booking.
        ByAttendee = "by_attendee",
        /// The organizer cancelled the event.
        EventCancelled = "event_cancelled",
        /// The seats were gone when the payment succeeded.
        SeatsLost = "seats_lost",
    }
}

text_enum! {
    CancelReason {
        /// The owner cancelled it.
        ByAttendee = "by_attendee",
        /// The organizer cancelled the event.
        EventCancelled = "event_cancelled",
    }
}

text_enum! {
    /// A mismatch that the reconciler reports and cannot repair.
    FindingKind {
        /// Confirmed seats that belong to no booking.
        SeatsWithoutBooking = "seats_without_booking",
        /// Confirmed seats of a Pending booking without a payment under way.
        SeatsWithoutPayment = "seats_without_payment",
        /// A Confirmed booking without a reservation.
        BookingWithoutSeats = "booking_without_seats",
        /// A booking and its reservation have different numbers of seats.
        SeatsDiffer = "seats_differ",
        /// The gateway took money that belongs to no payment attempt.
        ChargeWithoutPayment = "charge_without_payment",
        /// A succeeded payment attempt without a succeeded charge.
        PaymentWithoutCharge = "payment_without_charge",
        /// A payment attempt and its charge have different amounts.
        AmountsDiffer = "amounts_differ",
        /// The messages about a booking do not match its transitions.
        MessageMismatch = "wrongly_told",
    }
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
            BookingStatus::ALL.iter().filter(|to| from.allows(**to)).map(|to| to.as_str()).collect()
        };

        assert_eq!(next(BookingStatus::Pending), ["Confirmed", "Rejected", "Expired", "Cancelled"]);
        assert_eq!(next(BookingStatus::Expired), ["Confirmed"]);
        assert_eq!(next(BookingStatus::Confirmed), ["Cancelled"]);
        assert!(next(BookingStatus::Rejected).is_empty() && next(BookingStatus::Cancelled).is_empty());
        let next = |from: PaymentStatus| -> Vec<&str> {
            PaymentStatus::ALL.iter().filter(|to| from.allows(**to)).map(|to| to.as_str()).collect()
        };
        assert_eq!(next(PaymentStatus::Unpaid), ["Paid", "Failed"]);
        assert_eq!(next(PaymentStatus::Failed), ["Paid"]);
        assert_eq!(next(PaymentStatus::Paid), ["Refunded"]);
        assert!(next(PaymentStatus::Refunded).is_empty());
    }

    proptest! {
        #[test]
        fn every_state_parses_from_its_text(status in any_of(BookingStatus::ALL), state in any_of(AttemptState::ALL)) {
            prop_assert_eq!(BookingStatus::parse(status.as_str()), Some(status));
            prop_assert_eq!(AttemptState::parse(state.as_str()), Some(state));
            prop_assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }

        #[test]
        fn a_booking_never_returns_to_a_status_or_leaves_a_final_one(targets in prop::collection::vec(any_of(BookingStatus::ALL), 0..20)) {
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
        fn a_booking_is_refunded_only_after_it_was_paid(targets in prop::collection::vec(any_of(PaymentStatus::ALL), 0..20)) {
            let mut seen = vec![PaymentStatus::Unpaid];
            for target in targets {
                if seen[seen.len() - 1].allows(target) {
                    prop_assert!(target != PaymentStatus::Refunded || seen.contains(&PaymentStatus::Paid));
                    seen.push(target);
                }
            }
        }

        #[test]
        fn a_failed_attempt_is_final_and_none_starts_twice(targets in prop::collection::vec(any_of(AttemptState::ALL), 0..20)) {
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
