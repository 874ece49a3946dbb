//! Ends a booking that is charged or free and gets no seats, and orders the refund of what was charged.
//!
//! The reservation is released nevertheless: an earlier hold may still arrive, and the tombstone stops it.

use contracts::message::Message;
use platform::failpoint;

use super::{Run, StepOutcome, count_booking};
use crate::{
    domain::{BookingStatus, CancelReason, PaymentStatus, RefundReason, saga::KnownReservation},
    error::Interrupted,
    state::INLINE_LEASE,
};

pub(super) async fn run(run: &mut Run<'_>) -> Result<StepOutcome, Interrupted> {
    let booking = &run.record.booking;
    let event_gone = run.known.reservation == KnownReservation::EventGone;
    let paid_by = run.paid_by();
    let mut change = match booking.status {
        BookingStatus::Pending if event_gone => booking.cancel(CancelReason::EventCancelled)?,
        BookingStatus::Pending => booking.expire()?,
        BookingStatus::Confirmed => {
            return Err(Interrupted::Inconsistent("a booking was confirmed by another payment"));
        }
        BookingStatus::Cancelled | BookingStatus::Rejected | BookingStatus::Expired => booking.unchanged(),
    };
    if paid_by.is_some() {
        change = change.with_payment(PaymentStatus::Paid)?;
    }
    let mut unit = run.state.store.begin().await?;
    let ended = unit.apply(&change.with_release(), paid_by, Some(INLINE_LEASE)).await?;
    let Some(mut ended) = ended else { return Ok(StepOutcome::Stale) };
    if let Some(payment_id) = paid_by {
        ended.refund = Some(unit.order_refund(payment_id, RefundReason::SeatsLost, Some(INLINE_LEASE)).await?);
        if let Some(attempt) = &mut ended.attempt {
            attempt.refund_reason = Some(RefundReason::SeatsLost);
        }
    }
    if booking.status == BookingStatus::Pending {
        let fact = ended.booking.fact(run.state.clock.now());
        let message = if event_gone { Message::BookingCancelled(fact) } else { Message::BookingExpired(fact) };
        unit.enqueue(&message).await?;
    }
    let outcome = run.commit(unit, ended).await?;
    failpoint!("booking.settle.lost");
    count_booking(match paid_by {
        Some(_) => "paid_too_late",
        None if event_gone => "event_gone",
        None => "without_seats",
    });
    Ok(outcome)
}
