//! From what the domain says to what clients get: one exhaustive match for each.

use platform::{ApiError, error::FieldError};
use thiserror::Error;

use crate::{
    domain::{
        Booking, CancelRefusal, ForbiddenTransition, PayRefusal, Payment,
        payment::{CARD_DECLINED, PAYMENT_METHOD_INVALID, PAYMENT_REFUSED},
    },
    event_client::Refusal,
};

/// Why a flow stopped before it knew its end. Another run takes it up where it stands.
#[derive(Debug, Error)]
pub enum Interrupted {
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A flow tried what the table of transitions forbids: a mistake of ours.
    #[error(transparent)]
    Transition(#[from] ForbiddenTransition),
    /// A charged payment, a booking or a price is not what it has to be: a mistake of ours or of a neighbour's.
    #[error("{0}")]
    Broken(&'static str),
}

impl From<Interrupted> for ApiError {
    fn from(error: Interrupted) -> Self {
        match error {
            Interrupted::Database(error) => error.into(),
            Interrupted::Transition(error) => Self::internal(error),
            error @ Interrupted::Broken(_) => Self::internal(error),
        }
    }
}

/// Why a booking was not cancelled.
#[derive(Debug, Error)]
pub enum NotCancelled {
    /// The user has no booking of that number.
    #[error("there is no such booking")]
    NotFound,
    /// The booking may not be cancelled, or not now.
    #[error(transparent)]
    Refused(#[from] CancelRefusal),
    /// It is not known.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<sqlx::Error> for NotCancelled {
    fn from(error: sqlx::Error) -> Self {
        Self::Interrupted(error.into())
    }
}

impl From<NotCancelled> for ApiError {
    fn from(reason: NotCancelled) -> Self {
        match reason {
            NotCancelled::NotFound => booking_not_found(),
            NotCancelled::Refused(refusal) => refusal.into(),
            NotCancelled::Interrupted(error) => error.into(),
        }
    }
}

impl From<PayRefusal> for ApiError {
    fn from(refusal: PayRefusal) -> Self {
        let code = match refusal {
            PayRefusal::InProgress => {
                return Self::conflict("payment_in_progress", refusal.to_string()).transient();
            }
            PayRefusal::AlreadyPaid => "already_paid",
            PayRefusal::Expired => "booking_expired",
            PayRefusal::Cancelled => "booking_cancelled",
            PayRefusal::Rejected => "booking_rejected",
            PayRefusal::Free => "nothing_to_pay",
            // Passes by itself, so it is no answer to keep.
            PayRefusal::NotHeld => {
                return Self::unavailable("event_service_unavailable", refusal.to_string(), refusal);
            }
        };
        Self::conflict(code, refusal.to_string())
    }
}

impl From<CancelRefusal> for ApiError {
    fn from(refusal: CancelRefusal) -> Self {
        let code = match refusal {
            CancelRefusal::PaymentInProgress => {
                return Self::conflict("payment_in_progress", refusal.to_string()).transient();
            }
            CancelRefusal::DeadlinePassed => "cancel_deadline_passed",
            CancelRefusal::Expired => "booking_expired",
            CancelRefusal::Rejected => "booking_rejected",
        };
        Self::conflict(code, refusal.to_string())
    }
}

/// The booking is not there, or not for this asker's eyes.
pub fn booking_not_found() -> ApiError {
    ApiError::not_found("booking_not_found", "you have no booking of that number")
}

/// The asker's account was deleted, and this replica did not know yet that its sessions have ended.
pub fn session_over() -> ApiError {
    ApiError::unauthorized("session_over", "the session is over; log in again")
}

/// The payment is not there, or not for this asker's eyes.
pub fn payment_not_found() -> ApiError {
    ApiError::not_found("payment_not_found", "you have no payment of that number")
}

/// The event is not there, or not for this asker's eyes.
pub fn event_not_found() -> ApiError {
    ApiError::not_found("event_not_found", "there is no such event")
}

/// The event is somebody else's.
pub fn not_your_event() -> ApiError {
    ApiError::forbidden("not_your_event", "only its organizer and admins may see who booked and what was sold")
}

/// event-service could not be asked who runs an event.
pub fn event_unknown(cause: anyhow::Error) -> ApiError {
    let detail = "the event could not be looked up; try again in a moment";
    ApiError::unavailable("event_service_unavailable", detail, cause).retry_after(2)
}

/// event-service did not answer in time.
pub fn event_service_unavailable(cause: anyhow::Error) -> ApiError {
    let detail = "the seats could not be held in time; try again, with the same Idempotency-Key if you sent one";
    ApiError::unavailable("event_service_unavailable", detail, cause).retry_after(2)
}

/// The answer about a booking whose seats were refused: event-service's own problem where it gave one.
pub fn rejected(booking: &Booking) -> ApiError {
    let detail = booking.rejection_detail.clone().unwrap_or_default();
    let refusal = booking.rejection_code.as_deref().and_then(Refusal::parse);
    match refusal {
        Some(
            refusal @ (Refusal::SoldOut
            | Refusal::EventCancelled
            | Refusal::SalesClosed
            | Refusal::SalesNotOpen
            | Refusal::PersonLimitReached),
        ) => ApiError::conflict(refusal.code(), detail),
        Some(Refusal::HeldSeatsLimit) => held_seats_limit(detail, None),
        Some(Refusal::EventNotFound) => ApiError::not_found("event_not_found", detail),
        Some(Refusal::TooManySeats) => ApiError::unprocessable("too_many_seats", detail),
        Some(Refusal::ReservationReleased | Refusal::ReservationMismatch | Refusal::ReservationNotFound) | None => {
            ApiError::conflict("booking_rejected", "the seats could not be held in time; book again")
        }
    }
}

/// The answer to somebody who holds as many seats of the event as allowed, until the first hold ends.
pub fn held_seats_limit(detail: String, retry_after_seconds: Option<u32>) -> ApiError {
    ApiError::too_many_requests(Refusal::HeldSeatsLimit.code(), detail, retry_after_seconds.unwrap_or(1))
}

/// The answer about a payment that failed.
pub fn payment_failed(payment: &Payment) -> ApiError {
    let message = payment.failure_message.clone().unwrap_or_default();
    match payment.failure_code.as_deref() {
        Some(CARD_DECLINED) => ApiError::payment_required("card_declined", message),
        Some(PAYMENT_REFUSED) => ApiError::payment_required(PAYMENT_REFUSED, message),
        Some(PAYMENT_METHOD_INVALID) => ApiError::invalid(vec![FieldError::new("payment_method", message)]),
        _ => {
            let detail = "the payment failed before anything was charged; try again";
            ApiError::unavailable("payment_failed_before_charge", detail, anyhow::anyhow!(message))
        }
    }
}

/// The answer about a payment that came when its seats were gone.
pub fn payment_too_late(booking: &Booking) -> ApiError {
    use crate::domain::BookingStatus;
    let code = match booking.status {
        BookingStatus::Cancelled => "booking_cancelled",
        BookingStatus::Rejected => "booking_rejected",
        BookingStatus::Pending | BookingStatus::Confirmed | BookingStatus::Expired => "booking_expired",
    };
    ApiError::conflict(code, "the seats were gone when the payment came through; the money is going back to you")
}
