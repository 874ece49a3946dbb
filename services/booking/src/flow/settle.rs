//! A charged attempt buys the seats, or its money goes back.
//!
//! That it charged is stored first. Then the seats are confirmed: those that are held, or, when the hold is over, new
//! ones under a new reservation id that is stored before it is used. Where none are left, a refund is ordered in the
//! transaction that takes notice of the money.

use contracts::message::Message;
use platform::{failpoint, guard_removed};
use uuid::Uuid;

use super::{expire::release_seats, hold::ask_for_seats, refund};
use crate::{
    clients::event_service::{CallFailure, Refusal},
    domain::{Booking, BookingStatus, CancelReason, Payment, PaymentStatus, RefundReason},
    error::Interrupted,
    state::{AppState, INLINE_LEASE},
};

/// How often the booking may move while it is settled, before a sweeper takes over.
const ROUNDS: u32 = 5;

/// What became of the seats of a charged booking.
enum Seats {
    /// Sold under the booking's present reservation.
    Sold,
    /// Not to be had any more.
    Lost(Refusal),
    /// The booking has a new reservation, or went elsewhere: look again.
    Moved,
    /// Not known.
    Unknown,
}

/// Stores that a started attempt charged, and settles it.
pub async fn charged(state: &AppState, payment_id: i32) -> Result<(), Interrupted> {
    if !state.store.store_charged(payment_id).await? {
        // It was stored as failed, which is done only when it is certain: nothing that is safe is left to do here.
        tracing::error!(payment_id, "the gateway charged a payment that was stored as failed");
        return Err(Interrupted::Broken("the gateway charged a failed payment"));
    }
    failpoint!("booking.settle.charged");
    settle(state, payment_id).await
}

/// Gives a charged attempt its seats or orders its refund; leaves it to a sweeper while that is not known.
pub async fn settle(state: &AppState, payment_id: i32) -> Result<(), Interrupted> {
    for _ in 0..ROUNDS {
        let found = state.store.find_payment_and_booking(payment_id).await?;
        let (payment, booking) = found.ok_or(Interrupted::Broken("a payment vanished"))?;
        if payment.settled_at.is_some() {
            return Ok(());
        }
        let done = match booking.status {
            BookingStatus::Pending | BookingStatus::Expired => match secure_seats(state, &booking).await? {
                Seats::Sold => store_confirmed(state, &booking, &payment).await?,
                Seats::Lost(refusal) => store_lost(state, &booking, &payment, refusal).await?,
                Seats::Moved => false,
                Seats::Unknown => break,
            },
            BookingStatus::Cancelled | BookingStatus::Rejected => store_owed(state, &booking, &payment).await?,
            BookingStatus::Confirmed => return Err(Interrupted::Broken("a booking was confirmed by another payment")),
        };
        if done {
            return Ok(());
        }
    }
    Ok(state.store.postpone_payment(payment_id).await?)
}

/// Confirms the booking's reservation, holding seats anew where the hold is over.
async fn secure_seats(state: &AppState, booking: &Booking) -> Result<Seats, Interrupted> {
    if guard_removed!("booking.seats_before_confirmed") {
        return Ok(Seats::Sold);
    }
    let confirm = || state.events.confirm(&booking.event_id, booking.reservation_id);
    match state.events.until_known(confirm).await.1 {
        Ok(()) => {
            failpoint!("booking.settle.sold");
            Ok(Seats::Sold)
        }
        Err(CallFailure::Refused { refusal: Refusal::ReservationReleased, .. }) => renew(state, booking).await,
        Err(CallFailure::Refused { refusal: Refusal::ReservationNotFound, .. }) => hold_again(state, booking).await,
        Err(CallFailure::Refused { refusal, .. }) => Ok(Seats::Lost(refusal)),
        Err(failure) => {
            tracing::warn!(booking_id = booking.id, %failure, "seats not confirmed yet");
            Ok(Seats::Unknown)
        }
    }
}

/// A released reservation never comes back: stores a new id, by which seats are held in the next round.
async fn renew(state: &AppState, booking: &Booking) -> Result<Seats, Interrupted> {
    state.store.replace_reservation(booking, Uuid::new_v4()).await?;
    failpoint!("booking.settle.renewed");
    Ok(Seats::Moved)
}

/// The present id was stored, and its hold has not come through.
async fn hold_again(state: &AppState, booking: &Booking) -> Result<Seats, Interrupted> {
    match state.events.until_known(|| ask_for_seats(state, booking, true)).await.1 {
        Ok(_) => {
            failpoint!("booking.settle.held_again");
            Ok(Seats::Moved)
        }
        Err(CallFailure::Refused { refusal: Refusal::ReservationReleased, .. }) => renew(state, booking).await,
        Err(CallFailure::Refused { refusal, .. }) => Ok(Seats::Lost(refusal)),
        Err(failure) => {
            tracing::warn!(booking_id = booking.id, %failure, "seats not held anew yet");
            Ok(Seats::Unknown)
        }
    }
}

/// Seats sold, money taken: one transaction with the word to the owner. False if the booking moved meanwhile.
async fn store_confirmed(state: &AppState, booking: &Booking, payment: &Payment) -> Result<bool, Interrupted> {
    let mut unit = state.store.begin().await?;
    let Some(confirmed) = unit.apply(&booking.confirm()?, None).await? else { return Ok(false) };
    if !unit.settle_payment(payment.id).await? {
        return Ok(false);
    }
    unit.tell(&Message::BookingConfirmed(confirmed.fact(state.clock.now()))).await?;
    unit.commit().await?;
    failpoint!("booking.settle.stored");
    state.relay_wake.notify_one();
    metrics::counter!("eventplatform_bookings_total", "outcome" => "confirmed").increment(1);
    Ok(true)
}

/// No seats are to be had: the booking ends if it has not, and the refund is ordered. False if the booking moved.
///
/// The seats are released all the same: an earlier hold may still be on its way, and a tombstone stops it.
async fn store_lost(
    state: &AppState,
    booking: &Booking,
    payment: &Payment,
    refusal: Refusal,
) -> Result<bool, Interrupted> {
    let called_off = matches!(refusal, Refusal::EventCancelled | Refusal::EventNotFound);
    let change = match (booking.status, called_off) {
        (BookingStatus::Pending, true) => booking.cancel(CancelReason::EventCancelled)?,
        (BookingStatus::Pending, false) => booking.expire()?,
        _ => return store_owed(state, booking, payment).await,
    };
    let change = change.with_payment(PaymentStatus::Paid)?.with_release();
    let mut unit = state.store.begin().await?;
    let Some(ended) = unit.apply(&change, Some(INLINE_LEASE)).await? else { return Ok(false) };
    if !unit.settle_payment(payment.id).await? {
        return Ok(false);
    }
    let refund = unit.order_refund(payment.id, RefundReason::SeatsLost, Some(INLINE_LEASE)).await?;
    let fact = ended.fact(state.clock.now());
    unit.tell(&if called_off { Message::BookingCancelled(fact) } else { Message::BookingExpired(fact) }).await?;
    unit.commit().await?;
    failpoint!("booking.settle.lost");
    state.relay_wake.notify_one();
    metrics::counter!("eventplatform_bookings_total", "outcome" => "paid_too_late").increment(1);
    release_seats(state, &ended).await?;
    failpoint!("booking.settle.lost_released");
    refund::carry_out(state, &refund).await?;
    Ok(true)
}

/// The booking ended before the money came: only the refund is ordered. False if the booking moved meanwhile.
async fn store_owed(state: &AppState, booking: &Booking, payment: &Payment) -> Result<bool, Interrupted> {
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
    refund::carry_out(state, &refund).await?;
    Ok(true)
}
