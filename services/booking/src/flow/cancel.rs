//! The owner cancels a booking: the cancellation is stored first, then seats are released and money is refunded.

use std::time::Duration;

use chrono::TimeDelta;
use contracts::message::Message;
use platform::{ApiResult, failpoint};

use super::{Run, count_booking};
use crate::{
    domain::{AttemptState, BookingStatus, CancelReason, CancelRefusal, saga::SagaRecord},
    error::{Interrupted, NotCancelled},
    state::{AppState, INLINE_LEASE},
};

/// Cancels a booking of the user. A cancelled booking stays as it is.
pub async fn cancel(state: &AppState, user_id: i32, booking_id: i32) -> ApiResult<SagaRecord> {
    let deadline = state.policy.cancel_deadline;
    let record = store_cancelled(state, user_id, booking_id, deadline, Some(INLINE_LEASE)).await?;
    let mut run = Run::for_request(state, record, None);
    if let Err(error) = run.drive().await {
        let error = format!("{:#}", anyhow::Error::new(error));
        tracing::warn!(booking_id, error, "cancellation stored; sweepers will finish it");
    }
    Ok(run.record)
}

/// Stores the cancellation of a booking of the user, until `deadline` before its event, and orders its refund.
///
/// `lease` keeps sweepers away while the caller itself releases the seats and refunds the money.
pub(super) async fn store_cancelled(
    state: &AppState,
    user_id: i32,
    booking_id: i32,
    deadline: TimeDelta,
    lease: Option<Duration>,
) -> Result<SagaRecord, NotCancelled> {
    let mut unit = state.store.begin().await?;
    let saga = unit.lock_user_saga(user_id, booking_id).await?.ok_or(NotCancelled::NotFound)?;
    let attempt = saga.attempt.as_ref().filter(|attempt| attempt.is_active());
    if !saga.booking.may_cancel(attempt.is_some(), state.clock.now(), deadline)? {
        return Ok(saga);
    }
    if saga.booking.status == BookingStatus::Confirmed && unit.is_checked_in(booking_id).await? {
        return Err(CancelRefusal::CheckedIn.into());
    }
    let change = saga.booking.cancel(CancelReason::ByAttendee).map_err(Interrupted::from)?;
    let cancelled = unit.apply(&change, None, lease).await?;
    let mut cancelled = cancelled.ok_or(Interrupted::Inconsistent("a locked booking moved"))?;
    if let Some(paid) = attempt.filter(|attempt| attempt.state == AttemptState::Succeeded) {
        cancelled.refund = Some(unit.order_refund(paid.id, CancelReason::ByAttendee.into(), lease).await?);
    }
    unit.enqueue(&Message::BookingCancelled(cancelled.booking.fact(state.clock.now()))).await?;
    unit.commit().await?;
    failpoint!("booking.cancel.stored");
    count_booking("cancelled");
    if lease.is_none() {
        state.sweep.notify_one();
    }
    Ok(cancelled.or(&saga))
}
