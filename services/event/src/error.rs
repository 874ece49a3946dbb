//! Refusals of the domain and failures of the queue as API errors.

use platform::ApiError;

use crate::{domain::Refusal, queue::Failure};

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
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::EventNotFound => Self::not_found("event_not_found", "there is no such event"),
            Refusal::EventCancelled => Self::conflict("event_cancelled", "the event is cancelled, for good"),
            Refusal::SalesNotOpen => Self::conflict("sales_not_open", "sales of this event have not begun yet"),
            Refusal::SalesClosed => Self::conflict("sales_closed", "sales of this event are over"),
            Refusal::SoldOut { left: 0 } => Self::conflict("sold_out", "no seats are left"),
            Refusal::SoldOut { left: 1 } => Self::conflict("sold_out", "only 1 seat is left"),
            Refusal::SoldOut { left } => Self::conflict("sold_out", format!("only {left} seats are left")),
            Refusal::TooManySeats { max } => {
                Self::unprocessable("too_many_seats", format!("one booking of this event may have at most {max} seats"))
            }
            Refusal::HeldSeatsLimit { max, retry_after_seconds } => {
                let detail = format!(
                    "one person may hold at most {max} seats of this event at a time; pay for them, cancel them, or \
                     try again when they go back"
                );
                Self::too_many_requests("held_seats_limit", detail, retry_after_seconds)
            }
            Refusal::PersonLimitReached { max } => {
                let detail = format!("one person may have at most {max} seats of this event");
                Self::conflict("person_limit_reached", detail)
            }
            Refusal::ReservationMismatch => {
                let detail = "this reservation id stands for another number of seats or another event";
                Self::conflict("reservation_mismatch", detail)
            }
            Refusal::ReservationReleased => {
                let detail = "the seats of this reservation were released; take a new reservation id";
                Self::conflict("reservation_released", detail)
            }
            Refusal::ReservationNotFound => Self::not_found("reservation_not_found", "there is no such reservation"),
            Refusal::CapacityBelowSold { taken } => {
                let detail = format!("{taken} seats are held or sold; the capacity cannot be less");
                Self::conflict("capacity_below_sold", detail)
            }
            Refusal::SeatsTaken { taken } => {
                let detail = format!("{taken} seats are held or sold; such an event can only be cancelled");
                Self::conflict("seats_taken", detail)
            }
            Refusal::Invalid(errors) => Self::invalid(errors),
        }
    }
}
