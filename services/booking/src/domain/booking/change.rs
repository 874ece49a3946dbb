//! State changes of a booking.

use thiserror::Error;
use uuid::Uuid;

use super::Booking;
use crate::domain::status::{BookingStatus, CancelReason, PaymentStatus};

#[derive(Debug, Error)]
#[error("booking {booking_id} may not go from {from} to {to}")]
pub struct ForbiddenTransition {
    booking_id: i32,
    from: &'static str,
    to: &'static str,
}

#[derive(Clone, Debug)]
pub struct Rejection {
    /// Stable and machine-readable.
    pub code: &'static str,
    pub detail: String,
}

/// A state change that was checked against the allowed transitions. The store applies it as a compare-and-set on the
/// state before.
#[derive(Clone, Debug)]
pub struct Change {
    pub booking_id: i32,
    /// The reservation that the decision was based on.
    pub reservation_id: Uuid,
    /// Before and after.
    pub status: (BookingStatus, BookingStatus),
    /// Before and after.
    pub payment_status: (PaymentStatus, PaymentStatus),
    pub rejection: Option<Rejection>,
    pub cancel_reason: Option<CancelReason>,
    /// Whether the seats have to be released afterwards.
    pub release: bool,
}

impl Change {
    fn none(booking: &Booking) -> Self {
        Self {
            booking_id: booking.id,
            reservation_id: booking.reservation_id,
            status: (booking.status, booking.status),
            payment_status: (booking.payment_status, booking.payment_status),
            rejection: None,
            cancel_reason: None,
            release: false,
        }
    }

    /// The same change, with the payment status `to` as well.
    pub fn with_payment(mut self, to: PaymentStatus) -> Result<Self, ForbiddenTransition> {
        let from = self.payment_status.0;
        if !from.allows(to) {
            return Err(ForbiddenTransition { booking_id: self.booking_id, from: from.into_str(), to: to.into_str() });
        }
        self.payment_status.1 = to;
        Ok(self)
    }

    /// The same change, with the seats to be released afterwards.
    #[must_use]
    pub fn with_release(self) -> Self {
        Self { release: true, ..self }
    }

    fn with_status(mut self, to: BookingStatus) -> Result<Self, ForbiddenTransition> {
        let from = self.status.0;
        if !from.allows(to) {
            return Err(ForbiddenTransition { booking_id: self.booking_id, from: from.into_str(), to: to.into_str() });
        }
        self.status.1 = to;
        Ok(self)
    }
}

impl Booking {
    pub fn confirm(&self) -> Result<Change, ForbiddenTransition> {
        Change::none(self).with_status(BookingStatus::Confirmed)?.with_payment(PaymentStatus::Paid)
    }

    pub fn reject(&self, rejection: Rejection) -> Result<Change, ForbiddenTransition> {
        let change = Change::none(self).with_status(BookingStatus::Rejected)?;
        Ok(Change { rejection: Some(rejection), ..change })
    }

    pub fn expire(&self) -> Result<Change, ForbiddenTransition> {
        Change::none(self).with_status(BookingStatus::Expired)
    }

    /// Cancels it; its seats have to be released.
    pub fn cancel(&self, reason: CancelReason) -> Result<Change, ForbiddenTransition> {
        let change = Change::none(self).with_status(BookingStatus::Cancelled)?.with_release();
        Ok(Change { cancel_reason: Some(reason), ..change })
    }

    /// Leaves both statuses as they are.
    pub fn unchanged(&self) -> Change {
        Change::none(self)
    }

    /// Changes the payment status alone.
    pub fn pay(&self, to: PaymentStatus) -> Result<Change, ForbiddenTransition> {
        Change::none(self).with_payment(to)
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::{super::tests::booking, *};

    #[test]
    fn every_change_is_an_allowed_transition() {
        for status in BookingStatus::VARIANTS.iter().copied() {
            for payment_status in PaymentStatus::VARIANTS.iter().copied() {
                let booking = booking(status, payment_status);
                let rejection = Rejection { code: "sold_out", detail: String::new() };
                let changes = [
                    booking.confirm(),
                    booking.reject(rejection),
                    booking.expire(),
                    booking.cancel(CancelReason::ByAttendee),
                    booking.pay(PaymentStatus::Paid),
                    booking.pay(PaymentStatus::Refunded),
                ];
                for change in changes.into_iter().flatten() {
                    assert!(change.status.0 == change.status.1 || change.status.0.allows(change.status.1));
                    let (from, to) = change.payment_status;
                    assert!(from == to || from.allows(to));
                    assert_eq!((change.status.0, from), (status, payment_status));
                }
            }
        }
    }
}
