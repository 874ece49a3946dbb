//! What an event is, which changes of it are allowed, and how a batch of requests is admitted. Pure: takes `now`.

pub mod batch;
pub mod change;
pub mod charge;
pub mod event;
mod person;
pub mod reservation;
pub mod search;
pub mod time_zone;
mod validate;

pub use self::{
    batch::{Answer, AsRead, BatchOutcome, EventChange, Operation, apply_batch},
    change::{Essentials, UntoldChange},
    event::{Details, Event, EventPatch, EventStatus},
    reservation::Reservation,
    validate::is_sensible,
};

use platform::error::FieldError;

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// There is no such event, or it is a draft.
    #[error("there is no such event")]
    EventNotFound,
    /// It was called off, for good.
    #[error("the event is cancelled")]
    EventCancelled,
    /// The sales window has not begun.
    #[error("sales have not begun")]
    SalesNotOpen,
    /// The sales window is over.
    #[error("sales are over")]
    SalesClosed,
    /// Fewer seats are left than were asked for.
    #[error("{left} seats are left")]
    SoldOut {
        /// Seats that are left.
        left: i64,
    },
    /// More seats than one booking may have.
    #[error("at most {max} seats per booking")]
    TooManySeats {
        /// Seats that one booking may have.
        max: i64,
    },
    /// The person holds as many unpaid seats of the event as allowed.
    #[error("one person may hold at most {max} seats")]
    HeldSeatsLimit {
        /// The most seats that one person may hold.
        max: i64,
        /// Whole seconds until the person's earliest hold ends, at least 1.
        retry_after_seconds: u32,
    },
    /// The person has as many seats of the event as allowed.
    #[error("one person may have at most {max} seats")]
    PersonLimitReached {
        /// The most seats that one person may have, held and sold.
        max: i64,
    },
    /// The reservation's id stands for other seats, or for another event.
    #[error("the reservation id was used for something else")]
    ReservationMismatch,
    /// The reservation was released, for good.
    #[error("the reservation was released")]
    ReservationReleased,
    /// Nothing was ever held under that id.
    #[error("there is no such reservation")]
    ReservationNotFound,
    /// The capacity would be less than what is taken.
    #[error("{taken} seats are taken")]
    CapacityBelowSold {
        /// Seats that are held or sold.
        taken: i64,
    },
    /// An event with seats held or sold cannot become a draft again.
    #[error("{taken} seats are taken")]
    SeatsTaken {
        /// Seats that are held or sold.
        taken: i64,
    },
    /// Fields that are not valid, all of them.
    #[error("invalid fields")]
    Invalid(Vec<FieldError>),
}
