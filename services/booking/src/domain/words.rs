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
