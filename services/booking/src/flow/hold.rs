//! Stores a booking, then holds its seats in event-service under the stored reservation id.

use std::time::Duration;

use contracts::reservation::{DecreaseCapacity, Hold};
use platform::{ApiError, ApiResult, failpoint};
use uuid::Uuid;

use super::free;
use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::{Booking, BookingStatus, NewBooking, Rejection},
    error::{self, Interrupted},
    flow::expire::release_seats,
    state::{AppState, INLINE_LEASE},
};

/// How long a booking waits for its seats to be held before a sweeper rejects it.
pub const HOLD_TIMEOUT: Duration = Duration::from_secs(60);

/// Books seats, or continues an interrupted run of the same operation.
pub async fn book(state: &AppState, new: &NewBooking, operation_id: Uuid) -> ApiResult<Booking> {
    let inserted = state.store.insert_booking(new, operation_id, HOLD_TIMEOUT).await?;
    let (mut booking, mut fresh) = inserted.ok_or_else(error::session_over)?;
    if !fresh && is_retryable(&booking) && state.store.delete_rejected(&booking).await? {
        let inserted = state.store.insert_booking(new, operation_id, HOLD_TIMEOUT).await?;
        (booking, fresh) = inserted.ok_or_else(error::session_over)?;
    }
    failpoint!("booking.hold.written");
    loop {
        match booking.status {
            BookingStatus::Pending if booking.expires_at.is_none() => {
                let held = hold_seats(state, &booking, fresh).await?;
                booking = match held {
                    Some(booking) => booking,
                    None => reload(state, booking.id).await?,
                };
            }
            BookingStatus::Pending if booking.amount == Some(0) => {
                booking = match free::confirm(state, &booking).await? {
                    Some(booking) => booking,
                    None => reload(state, booking.id).await?,
                };
                if booking.status == BookingStatus::Pending {
                    // It is unknown whether the seats are confirmed: a sweeper continues, and the booking stays Pending.
                    return Ok(booking);
                }
            }
            BookingStatus::Pending | BookingStatus::Confirmed => return Ok(booking),
            BookingStatus::Rejected => return Err(error::rejected(&booking)),
            BookingStatus::Cancelled => {
                return Err(ApiError::conflict("booking_cancelled", "this booking is cancelled"));
            }
            BookingStatus::Expired => {
                return Err(ApiError::conflict("booking_expired", "the hold on the seats ran out"));
            }
        }
    }
}

/// Whether the same request may succeed later.
fn is_retryable(booking: &Booking) -> bool {
    booking.rejection_code.as_deref() == Some(Refusal::HeldSeatsLimit.code())
}

async fn reload(state: &AppState, id: i32) -> Result<Booking, Interrupted> {
    state.store.find_booking(id).await?.ok_or(Interrupted::Inconsistent("a booking vanished"))
}

/// Holds the seats and stores the hold or the refusal. `None` if the booking changed meanwhile.
async fn hold_seats(state: &AppState, booking: &Booking, fresh: bool) -> ApiResult<Option<Booking>> {
    let (calls, result) = state.events.retry_until_conclusive(|| request_hold(state, booking, false)).await;
    match result {
        Ok(hold) => {
            failpoint!("booking.hold.held");
            metrics::counter!("eventplatform_bookings_total", "outcome" => "held").increment(1);
            let amount = hold.price.checked_mul(i64::from(booking.seats)).filter(|amount| *amount >= 0);
            let amount = amount.ok_or(Interrupted::Inconsistent("the price of the seats is out of bounds"))?;
            let held = state.store.store_hold(booking, &hold, amount).await?;
            failpoint!("booking.hold.stored");
            if held.is_none() && state.store.mark_release_pending(booking).await? {
                // The booking ended while its seats were being held.
                failpoint!("booking.hold.orphaned");
                release_seats(state, booking).await?;
            }
            Ok(held)
        }
        Err(CallFailure::Refused { refusal, detail, retry_after_seconds }) => {
            // An earlier call may still arrive; releasing the reservation leaves a tombstone that stops it.
            let certain = fresh && calls == 1;
            let rejected = reject(state, booking, refusal, &detail, certain).await?;
            match (refusal, rejected) {
                (Refusal::HeldSeatsLimit, Some(rejected)) => {
                    state.store.delete_rejected(&rejected).await?;
                    Err(error::held_seats_limit(detail, retry_after_seconds))
                }
                (_, rejected) => Ok(rejected),
            }
        }
        Err(CallFailure::Unknown(cause)) => Err(error::event_service_unavailable(cause)),
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

async fn reject(
    state: &AppState,
    booking: &Booking,
    refusal: Refusal,
    detail: &str,
    certain: bool,
) -> Result<Option<Booking>, Interrupted> {
    let mut change = booking.reject(Rejection { code: refusal.code(), detail: detail.to_owned() })?;
    if !certain {
        change = change.with_release();
    }
    let mut unit = state.store.begin().await?;
    let Some(rejected) = unit.apply(&change, Some(INLINE_LEASE)).await? else { return Ok(None) };
    // Another run of the same operation held the seats.
    if rejected.expires_at.is_some() {
        return Ok(None);
    }
    unit.commit().await?;
    failpoint!("booking.hold.rejected");
    metrics::counter!("eventplatform_bookings_total", "outcome" => refusal.code()).increment(1);
    if rejected.release_pending {
        release_seats(state, &rejected).await?;
    }
    Ok(Some(rejected))
}

/// Rejects a booking whose hold is still unknown after [`HOLD_TIMEOUT`], then releases the reservation, whose tombstone
/// stops a hold that arrives late.
pub async fn give_up(state: &AppState, booking: &Booking) -> Result<(), Interrupted> {
    let detail = "the seats could not be held in time".to_owned();
    let change = booking.reject(Rejection { code: "event_service_unavailable", detail })?.with_release();
    let mut unit = state.store.begin().await?;
    let Some(rejected) = unit.apply(&change, Some(INLINE_LEASE)).await? else { return Ok(()) };
    // The hold may have been stored after the booking was read.
    if rejected.expires_at.is_some() {
        return Ok(());
    }
    unit.commit().await?;
    failpoint!("booking.hold.given_up");
    metrics::counter!("eventplatform_bookings_total", "outcome" => "given_up").increment(1);
    release_seats(state, &rejected).await
}
