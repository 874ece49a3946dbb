//! Queries of the table `bookings`.

mod transitions;

use std::time::Duration;

use contracts::reservation::Hold;
use uuid::Uuid;

use super::{LEASE_SECONDS, MAX_BACKOFF_SECONDS, Store};
use crate::domain::{Booking, BookingStatus, CancelReason, NewBooking, PaymentStatus, sales::attendee_key};

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
    /// Inserts a Pending booking, or finds the one that this operation inserted before; the flag says whether it is new.
    /// `None` if the user's account was deleted.
    ///
    /// A sweeper rejects it unless the seats are held within `hold_timeout`.
    pub async fn insert_booking(
        &self,
        new: &NewBooking,
        operation_id: Uuid,
        hold_timeout: Duration,
    ) -> sqlx::Result<Option<(Booking, bool)>> {
        let inserted = bookings!(
            "insert into bookings
                 (user_id, event_id, seats, user_name, user_email, operation_id, reservation_id, next_check_at, attendee_key)
             select $1::integer, $2::text, $3::integer, $4::text, $5::text, $6::uuid, $7::uuid,
                 now() + make_interval(secs => $8), $9::text
             where not exists (select from account_deletions where user_id = $1)
             on conflict (operation_id) do nothing
             returning",
            "",
            new.user_id,
            new.event_id,
            new.seats,
            new.user_name,
            new.user_email,
            operation_id,
            Uuid::new_v4(),
            hold_timeout.as_secs_f64(),
            attendee_key(&new.user_name, &new.user_email),
        )
        .fetch_optional(&self.pool)
        .await?;
        if let Some(booking) = inserted {
            return Ok(Some((booking, true)));
        }
        let found = bookings!("select", "from bookings where operation_id = $1", operation_id);
        match found.fetch_optional(&self.pool).await? {
            Some(booking) => Ok(Some((booking, false))),
            None if self.is_account_deleted(new.user_id).await? => Ok(None),
            // Another run of the same operation deleted it meanwhile.
            None => Err(sqlx::Error::RowNotFound),
        }
    }

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
            status.map(BookingStatus::as_str),
            before,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Stores the hold of the seats. `None` if the booking no longer waits for it.
    ///
    /// A title and start from a newer message are kept.
    pub async fn store_hold(&self, booking: &Booking, hold: &Hold, amount: i64) -> sqlx::Result<Option<Booking>> {
        bookings!(
            "update bookings set
                 expires_at = $3, price = $4, amount = $5, currency = $6, organizer_id = $7,
                 event_title = case when event_version <= $11 then $8 else event_title end,
                 event_starts_at = case when event_version <= $11 then $9 else event_starts_at end,
                 moved = moved and event_version > $11, move_untold = move_untold and event_version > $11,
                 booked_version = $11, event_version = greatest(event_version, $11),
                 next_check_at = case when $5::bigint = 0 then now() + make_interval(secs => $10) else $3 end,
                 checks = 0, updated_at = now()
             where id = $1 and reservation_id = $2 and status = 'Pending' and expires_at is null
             returning",
            "",
            booking.id,
            booking.reservation_id,
            hold.expires_at,
            hold.price,
            amount,
            hold.currency,
            hold.organizer_id,
            hold.event_title,
            hold.starts_at,
            LEASE_SECONDS,
            hold.event_version.unwrap_or(0),
        )
        .fetch_optional(&self.pool)
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

    /// Claims up to `limit` bookings that are due for a sweeper.
    pub async fn claim_bookings(&self, limit: i64) -> sqlx::Result<Vec<Booking>> {
        bookings!(
            "update bookings set lease_until = now() + make_interval(secs => $2), checks = checks + 1
             where id in (
                 select id from bookings
                 where (status = 'Pending' or release_pending)
                     and next_check_at <= now() and (lease_until is null or lease_until <= now())
                 order by next_check_at limit $1 for update skip locked
             )
             returning",
            "",
            limit,
            LEASE_SECONDS,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Ends the lease and makes the booking due again later, with exponential backoff.
    pub async fn postpone_booking(&self, id: i32) -> sqlx::Result<()> {
        sqlx::query!(
            "update bookings set
                 lease_until = null,
                 next_check_at = now() + make_interval(secs => least($2, 0.5 * power(2, least(checks, 6))))
             where id = $1",
            id,
            MAX_BACKOFF_SECONDS,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
