//! Queries of the table `bookings`.

use std::time::Duration;

use uuid::Uuid;

use super::{LEASE_SECONDS, Store, UnitOfWork};
use crate::domain::{Booking, BookingStatus, CancelReason, Change, PaymentStatus};

/// Rejected bookings are kept a day longer than the stored responses of the requests that created them.
const REJECTED_RETENTION: Duration = platform::idempotency::RETENTION.saturating_add(Duration::from_secs(24 * 3600));
/// Rejected bookings deleted per statement.
const REJECTED_BATCH: i64 = 500;

/// A query that returns bookings: `$before`, the columns, `$after`.
macro_rules! bookings {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Booking,
            $before
                + r#" id, user_id, event_id, status as "status: BookingStatus",
                     payment_status as "payment_status: PaymentStatus",
                     created_at at time zone 'utc' as "created_at!", seats, price, amount, currency, event_title,
                     event_starts_at, expires_at, reservation_id, rejection_code, rejection_detail,
                     cancel_reason as "cancel_reason: CancelReason", release_pending,
                     moved or move_untold as "moved!" "#
                + $after
            $(, $argument)*
        )
    };
}
pub(super) use bookings;

impl Store {
    /// Deletes a rejected booking whose seats are certainly not held; returns whether it was deleted.
    pub async fn delete_rejected(&self, booking: &Booking) -> sqlx::Result<bool> {
        let result = sqlx::query!(
            "delete from bookings where id = $1 and status = 'Rejected' and not release_pending",
            booking.id,
        )
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected() == 1)
    }

    /// Deletes old rejected bookings without payments; returns how many.
    pub async fn purge_rejected(&self) -> sqlx::Result<u64> {
        let mut removed = 0;
        loop {
            let result = sqlx::query!(
                "delete from bookings where id in (
                     select id from bookings b
                     where status = 'Rejected' and not release_pending
                         and updated_at < now() - make_interval(secs => $1)
                         and not exists (select from payments p where p.booking_id = b.id)
                     order by updated_at limit $2 for update skip locked
                 )",
                REJECTED_RETENTION.as_secs_f64(),
                REJECTED_BATCH,
            )
            .execute(&self.pool)
            .await?;
            removed += result.rows_affected();
            if result.rows_affected() < REJECTED_BATCH.unsigned_abs() {
                return Ok(removed);
            }
        }
    }

    pub async fn find_booking(&self, id: i32) -> sqlx::Result<Option<Booking>> {
        bookings!("select", "from bookings where id = $1", id).fetch_optional(&self.pool).await
    }

    pub async fn find_user_booking(&self, user_id: i32, id: i32) -> sqlx::Result<Option<Booking>> {
        bookings!("select", "from bookings where id = $1 and user_id = $2", id, user_id)
            .fetch_optional(&self.pool)
            .await
    }

    /// Bookings of a user with ids below `before`, newest first.
    pub async fn list_bookings(
        &self,
        user_id: i32,
        status: Option<BookingStatus>,
        before: Option<i32>,
        limit: i64,
    ) -> sqlx::Result<Vec<Booking>> {
        bookings!(
            "select",
            "from bookings
             where user_id = $1 and ($2::text is null or status = $2) and ($3::integer is null or id < $3)
             order by id desc limit $4",
            user_id,
            status.map(|status| status.into_str()),
            before,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Replaces the id of a released reservation. False if the booking changed meanwhile.
    pub async fn replace_reservation(&self, booking: &Booking, new: Uuid) -> sqlx::Result<bool> {
        let result = sqlx::query!(
            "update bookings set reservation_id = $3, updated_at = now()
             where id = $1 and reservation_id = $2 and status in ('Pending', 'Expired') and not release_pending",
            booking.id,
            booking.reservation_id,
            new,
        )
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected() == 1)
    }

    /// Marks that an ended booking has seats to release under this reservation. False if it has not ended, or ended with
    /// another reservation.
    pub async fn mark_release_pending(&self, booking: &Booking) -> sqlx::Result<bool> {
        let result = sqlx::query!(
            "update bookings set
                 release_pending = true, lease_until = now() + make_interval(secs => $3), next_check_at = now(),
                 checks = 0, updated_at = now()
             where id = $1 and reservation_id = $2 and status in ('Rejected', 'Cancelled', 'Expired')",
            booking.id,
            booking.reservation_id,
            LEASE_SECONDS,
        )
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected() == 1)
    }

    /// Stores that the seats are released.
    pub async fn finish_release(&self, booking: &Booking) -> sqlx::Result<()> {
        sqlx::query!(
            "update bookings set release_pending = false, lease_until = null, updated_at = now()
             where id = $1 and reservation_id = $2 and release_pending",
            booking.id,
            booking.reservation_id,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

impl UnitOfWork {
    /// [`UnitOfWork::apply`] for a change of the payment status alone; the work of sweepers stays as it is.
    pub async fn apply_payment(&mut self, change: &Change) -> sqlx::Result<Option<Booking>> {
        bookings!(
            "update bookings set payment_status = $3, updated_at = now()
             where id = $1 and payment_status = $2 and status = $4
             returning",
            "",
            change.booking_id,
            change.payment_status.0.into_str(),
            change.payment_status.1.into_str(),
            change.status.0.into_str(),
        )
        .fetch_optional(&mut *self.tx)
        .await
    }
}
