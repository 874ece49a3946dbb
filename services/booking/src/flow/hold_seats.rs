//! Holds the seats of a Pending booking, and stores the hold or the refusal.

use chrono::TimeDelta;
use contracts::reservation::{DecreaseCapacity, Hold};
use platform::failpoint;

use super::{Run, StepOutcome, count_booking};
use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::{Booking, Rejection},
    error::Interrupted,
    state::{AppState, INLINE_LEASE},
};

/// A hold that ends sooner than this wakes the sweeper, whose next search might come too late.
const SWEEPER_NOTICE: TimeDelta = TimeDelta::seconds(15);

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let (state, booking) = (run.state, &run.record.booking);
    let (calls, result) = state.events.retry_until_conclusive(|| request_hold(state, booking, false)).await;
    match result {
        Ok(hold) => {
            failpoint!("booking.hold.held");
            count_booking("held");
            store_hold(run, &hold).await
        }
        Err(CallFailure::Refused { refusal, detail, retry_after_seconds }) => {
            run.retry_after_seconds = retry_after_seconds;
            // An earlier call may still arrive; releasing the reservation leaves a tombstone that stops it.
            let certain = run.fresh && calls == 1;
            reject(run, refusal, detail, certain).await
        }
        Err(failure) => Ok(run.event_service_silent(failure)),
    }
}

/// Asks event-service to hold the booking's seats under its current reservation id. Seats that are `paid` already do
/// not count against the owner's limits.
pub(super) async fn request_hold(state: &AppState, booking: &Booking, paid: bool) -> Result<Hold, CallFailure> {
    let request = DecreaseCapacity {
        reservation_id: booking.reservation_id,
        seats: u32::try_from(booking.seats).unwrap_or(0),
        hold_seconds: state.policy.hold_seconds,
        user_id: Some(booking.user_id),
        paid,
    };
    state.events.hold(&booking.event_id, &request).await
}

async fn store_hold(run: &Run<'_>, hold: &Hold) -> Result<StepOutcome, Interrupted> {
    let (state, booking) = (run.state, &run.record.booking);
    let amount = hold.price.checked_mul(i64::from(booking.seats)).filter(|amount| *amount >= 0);
    let amount = amount.ok_or(Interrupted::Inconsistent("the price of the seats is out of bounds"))?;
    let mut unit = state.store.begin().await?;
    let Some(record) = unit.store_hold(booking, hold, amount).await? else {
        drop(unit);
        if state.store.mark_release_pending(booking).await? {
            // The booking ended while its seats were being held.
            failpoint!("booking.hold.orphaned");
        }
        return Ok(StepOutcome::Stale);
    };
    let outcome = run.commit(unit, record).await?;
    failpoint!("booking.hold.stored");
    if hold.expires_at - run.record.read_at < SWEEPER_NOTICE {
        state.sweep.notify_one();
    }
    Ok(outcome)
}

async fn reject(run: &Run<'_>, refusal: Refusal, detail: String, certain: bool) -> Result<StepOutcome, Interrupted> {
    let mut change = run.record.booking.reject(Rejection { code: refusal.code(), detail })?;
    if !certain {
        change = change.with_release();
    }
    let mut unit = run.state.store.begin().await?;
    let rejected = unit.apply(&change, None, Some(INLINE_LEASE)).await?;
    // Another run of the same operation held the seats.
    let Some(rejected) = rejected.filter(|record| record.booking.expires_at.is_none()) else {
        return Ok(StepOutcome::Stale);
    };
    let outcome = run.commit(unit, rejected).await?;
    failpoint!("booking.hold.rejected");
    count_booking(refusal.code());
    Ok(outcome)
}
