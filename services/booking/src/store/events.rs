//! Changes of all bookings of an event when its organizer changes or cancels it.

use contracts::message::EventFact;

use super::{Store, UnitOfWork, bookings::bookings};
use crate::domain::{Booking, BookingStatus, CancelReason, PaymentStatus};

/// A user with a booking of an event.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    pub user_id: i32,
    /// The user's latest booking of the event.
    pub booking_id: i32,
}

impl Store {
    /// Stores an event's title and start, unless a newer message was applied before, and whether the event was moved
    /// after the seats were held.
    ///
    /// The mark of a move is permanent once holders were notified of it. Until then a later change may revert it.
    pub async fn store_event_change(&self, event: &EventFact) -> sqlx::Result<u64> {
        let moved = event.is_moved();
        let result = sqlx::query!(
            "update bookings set
                 event_title = case when event_version < $4 then $2 else event_title end,
                 event_starts_at = case when event_version < $4 then $3 else event_starts_at end,
                 move_untold = case when event_version < $4 then $5 and booked_version < $7 else move_untold end,
                 moved = moved or ($6 and booked_version < $7),
                 event_version = greatest(event_version, $4), change_version = greatest(event_version, $4),
                 updated_at = now()
             where event_id = $1 and (event_version < $4 or ($6 and booked_version < $7 and not moved))",
            event.event_id,
            event.title,
            event.starts_at,
            event.version,
            moved && event.unannounced,
            moved && !event.unannounced,
            event.known_since_version(),
        )
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected())
    }

    /// Up to `limit` holders of seats that were held before the event changed, by user id above `after`.
    pub async fn list_holders(&self, event: &EventFact, after: i32, limit: i64) -> sqlx::Result<Vec<Holder>> {
        sqlx::query_as!(
            Holder,
            r#"select user_id, max(id) as "booking_id!" from bookings
               where event_id = $1 and user_id > $2 and booked_version < $4
                   and (status = 'Confirmed' or (status = 'Pending' and expires_at is not null))
               group by user_id order by user_id limit $3"#,
            event.event_id,
            after,
            limit,
            event.known_since_version(),
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Up to `limit` users whose bookings were cancelled together with the event, by user id above `after`.
    pub async fn list_former_holders(&self, event_id: &str, after: i32, limit: i64) -> sqlx::Result<Vec<Holder>> {
        sqlx::query_as!(
            Holder,
            r#"select user_id, max(id) as "booking_id!" from bookings
               where event_id = $1 and user_id > $2 and status = 'Cancelled' and cancel_reason = 'event_cancelled'
               group by user_id order by user_id limit $3"#,
            event_id,
            after,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }
}

impl UnitOfWork {
    /// Ends up to `limit` Pending and Confirmed bookings of a cancelled event, with their seats to be released, and orders
    /// refunds for the paid ones, as [`Self::order_refund`] does for one. Returns how many ended, and the cancelled ones,
    /// whose owners must be notified.
    /// Bookings whose hold was still unknown are rejected instead, without a message.
    ///
    /// The transitions are those of [`BookingStatus::allows`].
    pub async fn cancel_event_bookings(
        &mut self,
        event: &EventFact,
        limit: i64,
    ) -> sqlx::Result<(usize, Vec<Booking>)> {
        let ended = bookings!(
            "update bookings set
                 status = case when status = 'Pending' and expires_at is null then 'Rejected' else 'Cancelled' end,
                 cancel_reason = case when status = 'Pending' and expires_at is null then null
                                      else 'event_cancelled' end,
                 rejection_code = case when status = 'Pending' and expires_at is null then 'event_cancelled' end,
                 rejection_detail = case when status = 'Pending' and expires_at is null
                                         then 'the event was called off' end,
                 event_title = $2, release_pending = true, lease_until = null, next_check_at = now(), checks = 0,
                 updated_at = now()
             where id in (
                 select id from bookings where event_id = $1 and status in ('Pending', 'Confirmed')
                 order by id limit $3 for update
             ) and status in ('Pending', 'Confirmed')
             returning",
            "",
            event.event_id,
            event.title,
            limit,
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let ids: Vec<i32> = ended.iter().map(|booking| booking.id).collect();
        sqlx::query!(
            "insert into refunds (payment_id, booking_id, amount, currency, reason)
             select id, booking_id, amount, currency, 'event_cancelled' from payments
             where booking_id = any($1) and state = 'succeeded' and settled_at is not null
             on conflict (payment_id) do nothing",
            &ids,
        )
        .execute(&mut *self.tx)
        .await?;
        let count = ended.len();
        let cancelled = ended.into_iter().filter(|booking| booking.status == BookingStatus::Cancelled).collect();
        Ok((count, cancelled))
    }
}
