//! Books seats: stores a Pending booking with a reservation id, and runs its saga.

use std::time::Duration;

use axum::response::Response;
use platform::{ApiError, ApiResult, failpoint, idempotency::IdempotentRequest};

use super::{Reply, Run};
use crate::{
    clients::event_service::Refusal,
    domain::{Booking, BookingStatus, NewBooking, saga::SagaRecord},
    error::{self, Interrupted},
    state::AppState,
};

/// How long a booking waits for its seats to be held before a sweeper rejects it.
pub const HOLD_TIMEOUT: Duration = Duration::from_secs(60);

/// Books seats, or continues an interrupted run of the same operation. `None` if the request's key is taken.
pub async fn book(
    state: &AppState,
    new: &NewBooking,
    request: &IdempotentRequest,
    respond: &(dyn Fn(&SagaRecord) -> Response + Send + Sync),
) -> ApiResult<Option<Booking>> {
    let (record, fresh) = match state.store.insert_booking(new, request, HOLD_TIMEOUT).await? {
        Some(record) => (record, true),
        None if request.to_claim().is_some() => return Ok(None),
        None => resume(state, new, request).await?,
    };
    failpoint!("booking.hold.written");
    let mut run = Run { fresh, ..Run::for_request(state, record, Some(Reply { request, respond })) };
    run.drive().await?;
    if is_retryable(&run.record.booking) {
        state.store.delete_rejected(&run.record.booking).await?;
        let detail = run.record.booking.rejection_detail.take().unwrap_or_default();
        return Err(error::held_seats_limit(detail, run.retry_after_seconds));
    }
    match run.unavailable {
        Some(cause) if run.record.booking.expires_at.is_none() => Err(error::event_service_unavailable(cause)),
        _ => check(run.record.booking).map(Some),
    }
}

/// The booking, if the request succeeded.
pub fn check(booking: Booking) -> ApiResult<Booking> {
    match booking.status {
        BookingStatus::Pending | BookingStatus::Confirmed => Ok(booking),
        BookingStatus::Rejected => Err(error::rejected(&booking)),
        BookingStatus::Cancelled => Err(ApiError::conflict("booking_cancelled", "this booking is cancelled")),
        BookingStatus::Expired => Err(ApiError::conflict("booking_expired", "the hold on the seats ran out")),
    }
}

/// The booking that this operation inserted before, and whether it is inserted anew, because the earlier one was refused
/// for a while only.
async fn resume(state: &AppState, new: &NewBooking, request: &IdempotentRequest) -> ApiResult<(SagaRecord, bool)> {
    let id = state.store.find_booking_by_operation(request.operation_id()).await?;
    let Some(id) = id else { return Err(error::session_over()) };
    let record = state.store.find_saga(id).await?.ok_or(Interrupted::Inconsistent("a booking vanished"))?;
    if is_retryable(&record.booking) && state.store.delete_rejected(&record.booking).await? {
        let inserted = state.store.insert_booking(new, request, HOLD_TIMEOUT).await?;
        return Ok((inserted.ok_or_else(error::session_over)?, true));
    }
    Ok((record, false))
}

/// Whether the same request may succeed later.
fn is_retryable(booking: &Booking) -> bool {
    booking.rejection_code.as_deref() == Some(Refusal::HeldSeatsLimit.code())
}
