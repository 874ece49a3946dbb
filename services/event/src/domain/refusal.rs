//! Why a request is refused.

use platform::error::FieldError;

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// There is no such event, or it is a draft.
    #[error("there is no such event")]
    EventNotFound,
    #[error("the event is cancelled")]
    EventCancelled,
    #[error("sales have not begun")]
    SalesNotOpen,
    #[error("sales are over")]
    SalesClosed,
    #[error("{left} seats are left")]
    SoldOut { left: i64 },
    /// `max` is the limit per booking.
    #[error("at most {max} seats per booking")]
    TooManySeats { max: i64 },
    /// The user holds as many unpaid seats of the event as allowed.
    #[error("one person may hold at most {max} seats")]
    HeldSeatsLimit {
        max: i64,
        /// Whole seconds until the user's earliest hold ends, at least 1.
        retry_after_seconds: u32,
    },
    /// The user has as many seats of the event, held and sold, as allowed.
    #[error("one person may have at most {max} seats")]
    PersonLimitReached { max: i64 },
    /// The reservation's id stands for another number of seats, or for another event.
    #[error("the reservation id was used for something else")]
    ReservationMismatch,
    #[error("the reservation was released")]
    ReservationReleased,
    #[error("there is no such reservation")]
    ReservationNotFound,
    /// The capacity would be less than the seats held and sold.
    #[error("{taken} seats are taken")]
    CapacityBelowSold { taken: i64 },
    /// An event with seats held or sold cannot become a draft again.
    #[error("{taken} seats are taken")]
    SeatsTaken { taken: i64 },
    /// Nobody would own the event.
    #[error("the organizer's account is deleted")]
    OrganizerDeleted,
    /// All invalid fields.
    #[error("invalid fields")]
    Invalid(Vec<FieldError>),
}
