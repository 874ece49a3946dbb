//! Domain errors as API errors, one exhaustive match each.

use contracts::problem::OVERLOADED;
use platform::{ApiError, error::FieldError};
use serde_json::json;
use thiserror::Error;

use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::{
        Booking, BookingStatus, CancelRefusal, CheckInRefusal, ForbiddenTransition, PayRefusal, Payment, RenameRefusal,
        payment::{CARD_DECLINED, PAYMENT_METHOD_INVALID, PAYMENT_REFUSED},
    },
};

/// Why a flow stopped before its end. Another run continues from the stored state.
#[derive(Debug, Error)]
pub enum Interrupted {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A flow attempted a transition that is not allowed: a bug.
    #[error(transparent)]
    Transition(#[from] ForbiddenTransition),
    /// A payment, a booking or a price is not what it must be: a bug here or in another service.
    #[error("{0}")]
    Inconsistent(&'static str),
}

impl From<Interrupted> for ApiError {
    fn from(error: Interrupted) -> Self {
        match error {
            Interrupted::Database(error) => error.into(),
            Interrupted::Transition(error) => Self::internal(error),
            error @ Interrupted::Inconsistent(_) => Self::internal(error),
        }
    }
}

/// Why a booking was not cancelled.
#[derive(Debug, Error)]
pub enum NotCancelled {
    /// The user has no booking with that id.
    #[error("there is no such booking")]
    NotFound,
    #[error(transparent)]
    Refused(#[from] CancelRefusal),
    /// The outcome is unknown.
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
            // Temporary, so it must not be a stored answer.
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
            CancelRefusal::CheckedIn => "already_checked_in",
            CancelRefusal::DeadlinePassed => "cancel_deadline_passed",
            CancelRefusal::Expired => "booking_expired",
            CancelRefusal::Rejected => "booking_rejected",
        };
        Self::conflict(code, refusal.to_string())
    }
}

impl From<CheckInRefusal> for ApiError {
    fn from(refusal: CheckInRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            CheckInRefusal::Forged => Self::unprocessable("ticket_forged", detail),
            CheckInRefusal::Replaced => Self::conflict("ticket_replaced", detail),
            CheckInRefusal::Void => Self::conflict("ticket_void", detail),
            CheckInRefusal::OtherEvent => Self::conflict("other_event", detail),
            CheckInRefusal::TooEarly(opens_at) => Self::conflict("too_early", detail).with("opens_at", json!(opens_at)),
            CheckInRefusal::ScanIdReused => Self::unprocessable("scan_id_reused", detail),
            CheckInRefusal::AlreadyCheckedIn { at, device } => {
                Self::conflict("already_checked_in", detail).with("checked_in_at", json!(at)).with("device", device)
            }
        }
    }
}

impl From<RenameRefusal> for ApiError {
    fn from(refusal: RenameRefusal) -> Self {
        let code = match refusal {
            RenameRefusal::Void => "ticket_void",
            RenameRefusal::AlreadyCheckedIn => "already_checked_in",
            RenameRefusal::EventStarted => "event_started",
        };
        Self::conflict(code, refusal.to_string())
    }
}

/// There is no such ticket, or the caller may not see it.
pub fn ticket_not_found() -> ApiError {
    ApiError::not_found("ticket_not_found", "you have no such ticket")
}

/// Somebody else keeps changing the ticket.
pub fn ticket_changed() -> ApiError {
    ApiError::conflict("ticket_changed", "the ticket was changed meanwhile; try again").transient()
}

/// There is no such door link, or it belongs to somebody else's event.
pub fn door_link_not_found() -> ApiError {
    ApiError::not_found("door_link_not_found", "there is no such link of an event of yours")
}

/// The token belongs to no door link: it was revoked, has expired, or never existed.
pub fn door_link_over() -> ApiError {
    ApiError::unauthorized("door_link_over", "this link has expired or was revoked; ask the organizer for a new one")
}

/// The door link is for another event.
pub fn not_this_door() -> ApiError {
    ApiError::forbidden("not_this_door", "this link is for another event")
}

/// There is no such booking, or it belongs to another user.
pub fn booking_not_found() -> ApiError {
    ApiError::not_found("booking_not_found", "you have no booking of that number")
}

/// The caller's account was deleted, and this replica does not know yet that its sessions were revoked.
pub fn session_over() -> ApiError {
    ApiError::unauthorized("session_over", "the session is over; log in again")
}

/// There is no such payment, or it belongs to another user.
pub fn payment_not_found() -> ApiError {
    ApiError::not_found("payment_not_found", "you have no payment of that number")
}

pub fn event_not_found() -> ApiError {
    ApiError::not_found(Refusal::EventNotFound, "there is no such event")
}

pub fn not_your_event() -> ApiError {
    ApiError::forbidden("not_your_event", "only the event's organizer and admins may do this")
}

/// event-service could not say who organizes the event.
pub fn event_lookup_failed(cause: anyhow::Error) -> ApiError {
    let detail = "the event could not be looked up; try again in a moment";
    ApiError::unavailable("event_service_unavailable", detail, cause).retry_after(2)
}

/// event-service did not answer in time, or has too much to do.
pub fn event_service_unavailable(cause: anyhow::Error) -> ApiError {
    if let Some(CallFailure::Overloaded { retry_after_seconds }) = cause.downcast_ref() {
        let detail =
            "too many people book at once; ask again in a moment, with the same Idempotency-Key if you sent one";
        return ApiError::too_many_requests(OVERLOADED, detail, *retry_after_seconds);
    }
    let detail = "the seats could not be held in time; try again, with the same Idempotency-Key if you sent one";
    ApiError::unavailable("event_service_unavailable", detail, cause).retry_after(2)
}

/// A booking whose seats were refused: event-service's own problem where there is one.
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
        ) => ApiError::conflict(refusal, detail),
        Some(Refusal::HeldSeatsLimit) => held_seats_limit(detail, None),
        Some(refusal @ Refusal::EventNotFound) => ApiError::not_found(refusal, detail),
        Some(refusal @ Refusal::TooManySeats) => ApiError::unprocessable(refusal, detail),
        Some(Refusal::ReservationReleased | Refusal::ReservationMismatch | Refusal::ReservationNotFound) | None => {
            ApiError::conflict("booking_rejected", "the seats could not be held in time; book again")
        }
    }
}

/// The user holds as many seats of the event as allowed, until the first hold ends.
pub fn held_seats_limit(detail: String, retry_after_seconds: Option<u32>) -> ApiError {
    ApiError::too_many_requests(Refusal::HeldSeatsLimit, detail, retry_after_seconds.unwrap_or(1))
}

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

/// The payment succeeded after its seats were gone, and is refunded.
pub fn payment_too_late(booking: &Booking) -> ApiError {
    let code = match booking.status {
        BookingStatus::Cancelled => "booking_cancelled",
        BookingStatus::Rejected => "booking_rejected",
        BookingStatus::Pending | BookingStatus::Confirmed | BookingStatus::Expired => "booking_expired",
    };
    ApiError::conflict(code, "the seats were gone when the payment came through; the money is going back to you")
}
