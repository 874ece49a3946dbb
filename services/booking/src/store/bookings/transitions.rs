//! State changes of bookings within a transaction.

use std::time::Duration;

use super::bookings;
use crate::{
    domain::{Booking, BookingStatus, CancelReason, Change, PaymentStatus},
    store::UnitOfWork,
};

impl UnitOfWork {
    /// The booking, locked until the end of the transaction, and whether its hold ended by the database's clock.
    pub async fn lock_booking(&mut self, user_id: i32, id: i32) -> sqlx::Result<Option<(Booking, bool)>> {
        let locked = bookings!("select", "from bookings where id = $1 and user_id = $2 for update", id, user_id)
            .fetch_optional(&mut *self.tx)
            .await?;
        let Some(booking) = locked else { return Ok(None) };
        let expired = sqlx::query_scalar!(
            r#"select coalesce(expires_at <= clock_timestamp(), false) as "expired!" from bookings where id = $1"#,
            id
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(Some((booking, expired)))
    }

    /// Applies a change if the booking is still in the state before it; `None` if it is not.
    ///
    /// `lease` keeps sweepers away while the caller continues with what the change requires.
    pub async fn apply(&mut self, change: &Change, lease: Option<Duration>) -> sqlx::Result<Option<Booking>> {
        let rejection = change.rejection.as_ref();
        bookings!(
            "update bookings set
                 status = $5, payment_status = $6,
                 rejection_code = coalesce($7, rejection_code), rejection_detail = coalesce($8, rejection_detail),
                 cancel_reason = coalesce($9, cancel_reason), release_pending = release_pending or $10,
                 lease_until = now() + make_interval(secs => $11), next_check_at = now(), checks = 0,
                 updated_at = now()
             where id = $1 and reservation_id = $2 and status = $3 and payment_status = $4
             returning",
            "",
            change.booking_id,
            change.reservation_id,
            change.status.0.as_str(),
            change.payment_status.0.as_str(),
            change.status.1.as_str(),
            change.payment_status.1.as_str(),
            rejection.map(|rejection| rejection.code),
            rejection.map(|rejection| rejection.detail.as_str()),
            change.cancel_reason.map(CancelReason::as_str),
            change.release,
            lease.map(|lease| lease.as_secs_f64()),
        )
        .fetch_optional(&mut *self.tx)
        .await
    }

    /// [`UnitOfWork::apply`] for a change of the payment status alone; the work of sweepers stays as it is.
    pub async fn apply_payment(&mut self, change: &Change) -> sqlx::Result<Option<Booking>> {
        bookings!(
            "update bookings set payment_status = $3, updated_at = now()
             where id = $1 and payment_status = $2 and status = $4
             returning",
            "",
            change.booking_id,
            change.payment_status.0.as_str(),
            change.payment_status.1.as_str(),
            change.status.0.as_str(),
        )
        .fetch_optional(&mut *self.tx)
        .await
    }
}
