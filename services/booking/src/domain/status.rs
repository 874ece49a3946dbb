//! The states of bookings, payments and refunds: one word each in the database, in JSON and in logs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Defines an enum whose variants have one word each, in the database, in JSON and in logs.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The value of that word, if there is one.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }
    };
}

words! {
    /// Where a booking stands.
    BookingStatus {
        /// Seats are held, or about to be, and not yet paid.
        Pending = "Pending",
        /// Seats are sold.
        Confirmed = "Confirmed",
        /// Seats could not be held.
        Rejected = "Rejected",
        /// The hold ran out.
        Expired = "Expired",
        /// Ended by its owner or the organizer.
        Cancelled = "Cancelled",
    }
}

words! {
    /// Where the money of a booking stands.
    PaymentStatus {
        /// Nothing was charged yet.
        Unpaid = "Unpaid",
        /// The price was charged, or there is none.
        Paid = "Paid",
        /// The last attempt failed; another may follow.
        Failed = "Failed",
        /// The money went back.
        Refunded = "Refunded",
    }
}

words! {
    /// Where an attempt to pay stands.
    AttemptState {
        /// Its outcome is not known yet.
        Started = "started",
        /// Charged.
        Succeeded = "succeeded",
        /// Not charged, and it never will be.
        Failed = "failed",
        /// Charged and given back.
        Refunded = "refunded",
    }
}

words! {
    /// Where a refund stands.
    RefundState {
        /// Ordered; the gateway has not confirmed it yet.
        Pending = "pending",
        /// The money went back.
        Succeeded = "succeeded",
    }
}

words! {
    /// Why money goes back.
    RefundReason {
        /// The owner cancelled.
        ByAttendee = "by_attendee",
        /// The organizer called the event off.
        EventCancelled = "event_cancelled",
        /// The payment came when the seats were gone.
        SeatsLost = "seats_lost",
    }
}

words! {
    /// Why a booking was cancelled.
    CancelReason {
        /// Its owner asked.
        ByAttendee = "by_attendee",
        /// The whole event was called off.
        EventCancelled = "event_cancelled",
    }
}

words! {
    /// What the reconciler found and does not heal.
    FindingKind {
        /// Sold seats that belong to no booking.
        SeatsWithoutBooking = "seats_without_booking",
        /// Sold seats of a Pending booking that nobody is paying.
        SeatsWithoutPayment = "seats_without_payment",
        /// A Confirmed booking whose seats are gone.
        BookingWithoutSeats = "booking_without_seats",
        /// A booking and its reservation of different size.
        SeatsDiffer = "seats_differ",
        /// Money that the gateway took and no attempt knows of.
        ChargeWithoutPayment = "charge_without_payment",
        /// A succeeded attempt without money at the gateway.
        PaymentWithoutCharge = "payment_without_charge",
        /// An attempt and its charge of different amount.
        AmountsDiffer = "amounts_differ",
        /// A booking whose messages are not those of its transitions.
        WronglyTold = "wrongly_told",
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
    /// Whether a booking may go from here to `to`. There are no other ways.
    pub fn allows(self, to: Self) -> bool {
        use BookingStatus::{Cancelled, Confirmed, Expired, Pending, Rejected};
        matches!(
            (self, to),
            (Pending, Confirmed | Rejected | Expired | Cancelled) | (Expired, Confirmed) | (Confirmed, Cancelled)
        )
    }
}

impl PaymentStatus {
    /// Whether a booking's money may go from here to `to`. There are no other ways.
    pub fn allows(self, to: Self) -> bool {
        use PaymentStatus::{Failed, Paid, Refunded, Unpaid};
        matches!((self, to), (Unpaid, Paid | Failed) | (Failed, Paid) | (Paid, Refunded))
    }
}

impl AttemptState {
    /// Whether an attempt may go from here to `to`. There are no other ways.
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
    fn the_transitions_are_those_of_the_design_and_no_others() {
        let of = |from: BookingStatus| -> Vec<&str> {
            BookingStatus::ALL.iter().filter(|to| from.allows(**to)).map(|to| to.as_str()).collect()
        };

        assert_eq!(of(BookingStatus::Pending), ["Confirmed", "Rejected", "Expired", "Cancelled"]);
        assert_eq!(of(BookingStatus::Expired), ["Confirmed"]);
        assert_eq!(of(BookingStatus::Confirmed), ["Cancelled"]);
        assert!(of(BookingStatus::Rejected).is_empty() && of(BookingStatus::Cancelled).is_empty());
        let of = |from: PaymentStatus| -> Vec<&str> {
            PaymentStatus::ALL.iter().filter(|to| from.allows(**to)).map(|to| to.as_str()).collect()
        };
        assert_eq!(of(PaymentStatus::Unpaid), ["Paid", "Failed"]);
        assert_eq!(of(PaymentStatus::Failed), ["Paid"]);
        assert_eq!(of(PaymentStatus::Paid), ["Refunded"]);
        assert!(of(PaymentStatus::Refunded).is_empty());
    }

    proptest! {
        #[test]
        fn words_are_read_back(status in any_of(BookingStatus::ALL), state in any_of(AttemptState::ALL)) {
            prop_assert_eq!(BookingStatus::parse(status.as_str()), Some(status));
            prop_assert_eq!(AttemptState::parse(state.as_str()), Some(state));
            prop_assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }

        #[test]
        fn no_walk_comes_back_or_leaves_an_end(wishes in prop::collection::vec(any_of(BookingStatus::ALL), 0..20)) {
            let (mut now, mut seen) = (BookingStatus::Pending, vec![BookingStatus::Pending]);
            for wish in wishes {
                if now.allows(wish) {
                    prop_assert!(!seen.contains(&wish));
                    prop_assert!(!matches!(now, BookingStatus::Rejected | BookingStatus::Cancelled));
                    seen.push(wish);
                    now = wish;
                }
            }
            prop_assert!(seen.len() <= 4);
        }

        #[test]
        fn money_is_given_back_only_after_it_was_taken(wishes in prop::collection::vec(any_of(PaymentStatus::ALL), 0..20)) {
            let mut seen = vec![PaymentStatus::Unpaid];
            for wish in wishes {
                if seen[seen.len() - 1].allows(wish) {
                    prop_assert!(wish != PaymentStatus::Refunded || seen.contains(&PaymentStatus::Paid));
                    seen.push(wish);
                }
            }
        }

        #[test]
        fn a_decided_attempt_stays_decided(wishes in prop::collection::vec(any_of(AttemptState::ALL), 0..20)) {
            let mut now = AttemptState::Started;
            for wish in wishes {
                if now.allows(wish) {
                    prop_assert!(now != AttemptState::Failed && wish != AttemptState::Started);
                    now = wish;
                }
            }
        }
    }
}
