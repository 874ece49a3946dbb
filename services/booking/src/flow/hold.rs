//! A booking is written, then its seats are held in event-service under the reservation id that was written.

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

/// How long a booking waits for its seats before a sweeper gives it up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Books seats, or goes on with what an interrupted run of the same operation began.
pub async fn book(state: &AppState, new: &NewBooking, operation_id: Uuid) -> ApiResult<Booking> {
    let inserted = state.store.insert_booking(new, operation_id, PATIENCE).await?;
    let (mut booking, mut fresh) = inserted.ok_or_else(error::session_over)?;
    if !fresh && is_worth_another_try(&booking) && state.store.forget_rejected(&booking).await? {
        let inserted = state.store.insert_booking(new, operation_id, PATIENCE).await?;
        (booking, fresh) = inserted.ok_or_else(error::session_over)?;
    }
    failpoint!("booking.hold.written");
    loop {
        match booking.status {
            BookingStatus::Pending if booking.expires_at.is_none() => {
                let held = take_seats(state, &booking, fresh).await?;
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
                    // Not known yet whether the seats are sold: a sweeper goes on, and the booking shows it.
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

/// Whether the refusal is temporary, so that the same request may succeed later.
fn is_worth_another_try(booking: &Booking) -> bool {
    booking.rejection_code.as_deref() == Some(Refusal::HeldSeatsLimit.code())
}

async fn reload(state: &AppState, id: i32) -> Result<Booking, Interrupted> {
    state.store.find_booking(id).await?.ok_or(Interrupted::Broken("a booking vanished"))
}

/// Holds the seats and stores that, or stores the refusal. `None` if the booking went elsewhere meanwhile.
async fn take_seats(state: &AppState, booking: &Booking, fresh: bool) -> ApiResult<Option<Booking>> {
    let (calls, result) = state.events.until_known(|| ask_for_seats(state, booking, false)).await;
    match result {
        Ok(hold) => {
            failpoint!("booking.hold.held");
            metrics::counter!("eventplatform_bookings_total", "outcome" => "held").increment(1);
            let amount = hold.price.checked_mul(i64::from(booking.seats)).filter(|amount| *amount >= 0);
            let amount = amount.ok_or(Interrupted::Broken("the price of the seats is out of bounds"))?;
            let held = state.store.store_hold(booking, &hold, amount).await?;
            failpoint!("booking.hold.stored");
            if held.is_none() && state.store.owe_release(booking).await? {
                // The booking ended while its seats were taken.
                failpoint!("booking.hold.orphaned");
                release_seats(state, booking).await?;
            }
            Ok(held)
        }
        Err(CallFailure::Refused { refusal, detail, retry_after_seconds }) => {
            // An earlier call may still be on its way: a tombstone keeps it from taking seats.
            let certain = fresh && calls == 1;
            let rejected = reject(state, booking, refusal, &detail, certain).await?;
            match (refusal, rejected) {
                (Refusal::HeldSeatsLimit, Some(rejected)) => {
                    state.store.forget_rejected(&rejected).await?;
                    Err(error::held_seats_limit(detail, retry_after_seconds))
                }
                (_, rejected) => Ok(rejected),
            }
        }
        Err(CallFailure::Unknown(cause)) => Err(error::event_service_unavailable(cause)),
    }
}

/// Asks event-service to hold the booking's seats under its present reservation id. Seats that are
/// already paid for are held whatever else their owner holds.
pub(super) async fn ask_for_seats(state: &AppState, booking: &Booking, paid: bool) -> Result<Hold, CallFailure> {
    let ask = DecreaseCapacity {
        reservation_id: booking.reservation_id,
        seats: u32::try_from(booking.seats).unwrap_or(0),
        hold_seconds: state.policy.hold_seconds,
        user_id: Some(booking.user_id),
        paid,
    };
    state.events.hold(&booking.event_id, &ask).await
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
    // Another run of the same operation got the seats.
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

/// Ends a booking whose seats are not known to be held after [`PATIENCE`], then has the reservation released: a hold
/// that comes late finds the tombstone.
pub async fn give_up(state: &AppState, booking: &Booking) -> Result<(), Interrupted> {
    let detail = "the seats could not be held in time".to_owned();
    let change = booking.reject(Rejection { code: "event_service_unavailable", detail })?.with_release();
    let mut unit = state.store.begin().await?;
    let Some(rejected) = unit.apply(&change, Some(INLINE_LEASE)).await? else { return Ok(()) };
    // The hold may have been stored since the booking was read.
    if rejected.expires_at.is_some() {
        return Ok(());
    }
    unit.commit().await?;
    failpoint!("booking.hold.given_up");
    metrics::counter!("eventplatform_bookings_total", "outcome" => "given_up").increment(1);
    release_seats(state, &rejected).await
}
