//! Refusals of the domain and failures of the queue as API errors.

use contracts::{problem::OVERLOADED, reservation::RefusalCode};
use platform::ApiError;

use crate::{domain::Refusal, queue::Failure};

/// `Retry-After` of a hold that could not be committed in time.
const OVERLOADED_RETRY_SECONDS: u32 = 2;

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Unknown(cause) => {
                let detail =
                    "the database did not answer in time; send the same request again to learn what came of it";
                Self::unavailable("database_unavailable", detail, anyhow::anyhow!("{cause:#}"))
            }
            Failure::Failed(cause) => Self::internal(anyhow::anyhow!("{cause:#}")),
            Failure::Overloaded => {
                let detail = "too many seats of this event are asked for at once; ask again in a moment";
                Self::too_many_requests(OVERLOADED, detail, OVERLOADED_RETRY_SECONDS)
            }
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::EventNotFound => Self::not_found(RefusalCode::EventNotFound, "there is no such event"),
            Refusal::EventCancelled => Self::conflict(RefusalCode::EventCancelled, "the event is cancelled, for good"),
            Refusal::SalesNotOpen => {
                Self::conflict(RefusalCode::SalesNotOpen, "sales of this event have not begun yet")
            }
            Refusal::SalesClosed => Self::conflict(RefusalCode::SalesClosed, "sales of this event are over"),
            Refusal::SoldOut { left: 0 } => Self::conflict(RefusalCode::SoldOut, "no seats are left"),
            Refusal::SoldOut { left: 1 } => Self::conflict(RefusalCode::SoldOut, "only 1 seat is left"),
            Refusal::SoldOut { left } => Self::conflict(RefusalCode::SoldOut, format!("only {left} seats are left")),
            Refusal::TooManySeats { max } => Self::unprocessable(
                RefusalCode::TooManySeats,
                format!("one booking of this event may have at most {max} seats"),
            ),
            Refusal::HeldSeatsLimit { max, retry_after_seconds } => {
                let detail = format!(
                    "one person may hold at most {max} seats of this event at a time; pay for them, cancel them, or \
                     try again when they go back"
                );
                Self::too_many_requests(RefusalCode::HeldSeatsLimit, detail, retry_after_seconds)
            }
            Refusal::PersonLimitReached { max } => {
                let detail = format!("one person may have at most {max} seats of this event");
                Self::conflict(RefusalCode::PersonLimitReached, detail)
            }
            Refusal::ReservationMismatch => {
                let detail = "this reservation id stands for another number of seats or another event";
                Self::conflict(RefusalCode::ReservationMismatch, detail)
            }
            Refusal::ReservationReleased => {
                let detail = "the seats of this reservation were released; take a new reservation id";
                Self::conflict(RefusalCode::ReservationReleased, detail)
            }
            Refusal::ReservationNotFound => {
                Self::not_found(RefusalCode::ReservationNotFound, "there is no such reservation")
            }
            Refusal::CapacityBelowSold { taken } => {
                let detail = format!("{taken} seats are held or sold; the capacity cannot be less");
                Self::conflict("capacity_below_sold", detail)
            }
            Refusal::SeatsTaken { taken } => {
                let detail = format!("{taken} seats are held or sold; such an event can only be cancelled");
                Self::conflict("seats_taken", detail)
            }
            Refusal::OrganizerDeleted => Self::forbidden("organizer_deleted", "the organizer's account is deleted"),
            Refusal::Invalid(errors) => Self::invalid(errors),
        }
    }
}
