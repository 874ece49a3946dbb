//! Settles a charged payment attempt: confirms the seats, or orders a refund.
//!
//! The charge is stored first. Then the seats are confirmed: the held ones, or, if the hold is over, new ones under a
//! new reservation id that is stored before it is used. If no seats are left, the transaction that settles the payment
//! orders its refund.

use contracts::message::Message;
use platform::failpoint;
use uuid::Uuid;

use super::{expire::release_seats, hold::request_hold, refund};
use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::{Booking, BookingStatus, CancelReason, Payment, PaymentStatus, RefundReason},
    error::Interrupted,
    state::{AppState, INLINE_LEASE},
};

/// How often settling restarts because the booking changed, before a sweeper takes over.
const MAX_ATTEMPTS: u32 = 5;

/// The outcome of securing the seats of a charged booking.
enum Seats {
    /// Confirmed under the booking's current reservation.
    Confirmed,
    /// No seats are available any more.
    Lost(Refusal),
    /// The booking has a new reservation, or a new hold: read it again.
    Changed,
    Unknown,
}

/// Stores that a started attempt was charged, and settles it.
pub async fn record_charge(state: &AppState, payment_id: i32) -> Result<(), Interrupted> {
    if !state.store.store_charged(payment_id).await? {
        // An attempt is stored as failed only when it can never charge, so there is no safe way to continue.
        tracing::error!(payment_id, "the gateway charged a payment that was stored as failed");
        return Err(Interrupted::Inconsistent("the gateway charged a failed payment"));
    }
    failpoint!("booking.settle.charged");
    settle(state, payment_id).await
}

/// Confirms the seats of a charged attempt or orders its refund; postpones it while the outcome is unknown.
pub async fn settle(state: &AppState, payment_id: i32) -> Result<(), Interrupted> {
    for _ in 0..MAX_ATTEMPTS {
        let found = state.store.find_payment_and_booking(payment_id).await?;
        let (payment, booking) = found.ok_or(Interrupted::Inconsistent("a payment vanished"))?;
        if payment.settled_at.is_some() {
            return Ok(());
        }
        let done = match booking.status {
            BookingStatus::Pending | BookingStatus::Expired => match secure_seats(state, &booking).await? {
                Seats::Confirmed => store_confirmed(state, &booking, &payment).await?,
                Seats::Lost(refusal) => store_seats_lost(state, &booking, &payment, refusal).await?,
                Seats::Changed => false,
                Seats::Unknown => break,
            },
            BookingStatus::Cancelled | BookingStatus::Rejected => store_late_payment(state, &booking, &payment).await?,
            BookingStatus::Confirmed => {
                return Err(Interrupted::Inconsistent("a booking was confirmed by another payment"));
            }
        };
        if done {
            return Ok(());
        }
    }
    Ok(state.store.postpone_payment(payment_id).await?)
}

/// Confirms the booking's reservation, and holds seats again if the hold is over.
async fn secure_seats(state: &AppState, booking: &Booking) -> Result<Seats, Interrupted> {
    let confirm = || state.events.confirm(&booking.event_id, booking.reservation_id);
    match state.events.retry_until_conclusive(confirm).await.1 {
        Ok(()) => {
            failpoint!("booking.settle.sold");
            Ok(Seats::Confirmed)
        }
        Err(CallFailure::Refused { refusal: Refusal::ReservationReleased, .. }) => {
            renew_reservation(state, booking).await
        }
        Err(CallFailure::Refused { refusal: Refusal::ReservationNotFound, .. }) => hold_again(state, booking).await,
        Err(CallFailure::Refused { refusal, .. }) => Ok(Seats::Lost(refusal)),
        Err(failure) => {
            tracing::warn!(booking_id = booking.id, %failure, "seats not confirmed yet");
            Ok(Seats::Unknown)
        }
    }
}

/// Stores a new reservation id, because a released one cannot be used again. The next attempt holds seats under it.
async fn renew_reservation(state: &AppState, booking: &Booking) -> Result<Seats, Interrupted> {
    state.store.replace_reservation(booking, Uuid::new_v4()).await?;
    failpoint!("booking.settle.renewed");
    Ok(Seats::Changed)
}

/// The current reservation id was stored, and no hold under it succeeded yet.
async fn hold_again(state: &AppState, booking: &Booking) -> Result<Seats, Interrupted> {
    match state.events.retry_until_conclusive(|| request_hold(state, booking, true)).await.1 {
        Ok(_) => {
            failpoint!("booking.settle.held_again");
            Ok(Seats::Changed)
        }
        Err(CallFailure::Refused { refusal: Refusal::ReservationReleased, .. }) => {
            renew_reservation(state, booking).await
        }
        Err(CallFailure::Refused { refusal, .. }) => Ok(Seats::Lost(refusal)),
        Err(failure) => {
            tracing::warn!(booking_id = booking.id, %failure, "seats not held again yet");
            Ok(Seats::Unknown)
        }
    }
}

/// Confirms the booking and settles the payment, with the message to the owner. False if the booking changed meanwhile.
async fn store_confirmed(state: &AppState, booking: &Booking, payment: &Payment) -> Result<bool, Interrupted> {
    let mut unit = state.store.begin().await?;
    let Some(confirmed) = unit.apply(&booking.confirm()?, None).await? else { return Ok(false) };
    if !unit.settle_payment(payment.id).await? {
        return Ok(false);
    }
    unit.enqueue(&Message::BookingConfirmed(confirmed.fact(state.clock.now()))).await?;
    unit.commit().await?;
    failpoint!("booking.settle.stored");
    state.relay_wake.notify_one();
    metrics::counter!("eventplatform_bookings_total", "outcome" => "confirmed").increment(1);
    Ok(true)
}

/// Ends the booking, if it has not ended, and orders the refund. False if the booking changed meanwhile.
///
/// The reservation is released nevertheless: an earlier hold may still arrive, and the tombstone stops it.
async fn store_seats_lost(
    state: &AppState,
    booking: &Booking,
    payment: &Payment,
    refusal: Refusal,
) -> Result<bool, Interrupted> {
    let event_cancelled = matches!(refusal, Refusal::EventCancelled | Refusal::EventNotFound);
    let change = match (booking.status, event_cancelled) {
        (BookingStatus::Pending, true) => booking.cancel(CancelReason::EventCancelled)?,
        (BookingStatus::Pending, false) => booking.expire()?,
        _ => return store_late_payment(state, booking, payment).await,
    };
    let change = change.with_payment(PaymentStatus::Paid)?.with_release();
    let mut unit = state.store.begin().await?;
    let Some(ended) = unit.apply(&change, Some(INLINE_LEASE)).await? else { return Ok(false) };
    if !unit.settle_payment(payment.id).await? {
        return Ok(false);
    }
    let refund = unit.order_refund(payment.id, RefundReason::SeatsLost, Some(INLINE_LEASE)).await?;
    let fact = ended.fact(state.clock.now());
    unit.enqueue(&if event_cancelled { Message::BookingCancelled(fact) } else { Message::BookingExpired(fact) })
        .await?;
    unit.commit().await?;
    failpoint!("booking.settle.lost");
    state.relay_wake.notify_one();
    metrics::counter!("eventplatform_bookings_total", "outcome" => "paid_too_late").increment(1);
    release_seats(state, &ended).await?;
    failpoint!("booking.settle.lost_released");
    refund::execute(state, &refund).await?;
    Ok(true)
}

/// The booking ended before the charge succeeded: only the refund is ordered. False if the booking changed meanwhile.
async fn store_late_payment(state: &AppState, booking: &Booking, payment: &Payment) -> Result<bool, Interrupted> {
    let change = booking.pay(PaymentStatus::Paid)?.with_release();
    let mut unit = state.store.begin().await?;
    let Some(ended) = unit.apply(&change, Some(INLINE_LEASE)).await? else { return Ok(false) };
    if !unit.settle_payment(payment.id).await? {
        return Ok(false);
    }
    let refund = unit.order_refund(payment.id, RefundReason::SeatsLost, Some(INLINE_LEASE)).await?;
    unit.commit().await?;
    failpoint!("booking.settle.owed");
    metrics::counter!("eventplatform_bookings_total", "outcome" => "paid_too_late").increment(1);
    release_seats(state, &ended).await?;
    failpoint!("booking.settle.owed_released");
    refund::execute(state, &refund).await?;
    Ok(true)
}
