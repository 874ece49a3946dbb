//! Queries of the table `account_deletions`, and the erasure of personal data.

use chrono::{DateTime, Utc};
use contracts::message::UserFact;

use super::{LEASE_SECONDS, Store};
use crate::domain::sales::attendee_key;

/// A deletion finishes at the earliest this long after it was received, in seconds: until then, a replica of an older
/// version, or a request that began before, may still insert a booking.
const MIN_DELETION_SECONDS: f64 = 120.0;
/// The longest pause before a deletion is claimed again, in seconds.
const MAX_PAUSE_SECONDS: f64 = 60.0;

impl Store {
    /// Stores that an account was deleted, which prevents new bookings. Idempotent.
    pub async fn insert_account_deletion(&self, user: &UserFact) -> sqlx::Result<()> {
        sqlx::query!(
            "insert into account_deletions (user_id, deleted_at) values ($1, $2) on conflict (user_id) do nothing",
            user.user_id,
            user.occurred_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn is_account_deleted(&self, user_id: i32) -> sqlx::Result<bool> {
        sqlx::query_scalar!(r#"select exists (select from account_deletions where user_id = $1) as "exists!""#, user_id)
            .fetch_one(&self.pool)
            .await
    }

    /// Claims up to `limit` deletions that are due; returns the user ids.
    pub async fn claim_account_deletions(&self, limit: i64) -> sqlx::Result<Vec<i32>> {
        sqlx::query_scalar!(
            "update account_deletions set lease_until = now() + make_interval(secs => $2), checks = checks + 1
             where user_id in (
                 select user_id from account_deletions
                 where finished_at is null
                     and next_check_at <= now() and (lease_until is null or lease_until <= now())
                 order by next_check_at limit $1 for update skip locked
             )
             returning user_id",
            limit,
            LEASE_SECONDS,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Blanks name and e-mail address in all bookings of a user, by which a trigger blanks the names of all holders of their
    /// tickets. Deletes the stored responses to the user's requests, and the door links that the user made.
    ///
    /// The attendee key is set too, or else the backfill would add one.
    pub async fn erase_personal_data(&self, user_id: i32) -> sqlx::Result<()> {
        let mut tx = self.pool.begin().await?;
        // Locks rows in id order, like the cancellation of an event, to avoid deadlocks.
        sqlx::query!(
            "update bookings set user_name = '', user_email = '', attendee_key = $2
             where id in (
                 select id from bookings where user_id = $1 and (user_name <> '' or user_email <> '')
                 order by id for update
             )",
            user_id,
            attendee_key("", ""),
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!("delete from door_links where created_by = $1", user_id).execute(&mut *tx).await?;
        sqlx::query!("delete from idempotency_keys where user_id = $1 and status is not null", user_id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Ids of the bookings of a user that are Pending, or Confirmed for an event that has not started by `now`. Once a
    /// ticket of a booking was used, it is not cancelled any more.
    pub async fn list_open_bookings(&self, user_id: i32, now: DateTime<Utc>) -> sqlx::Result<Vec<i32>> {
        sqlx::query_scalar!(
            "select id from bookings b
             where user_id = $1
                 and (status = 'Pending' or (status = 'Confirmed' and (event_starts_at < $2) is not true))
                 and not exists (select from tickets t where t.booking_id = b.id and t.state = 'used')
             order by id",
            user_id,
            now,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Stores that a deletion is finished. False while a booking is open, a payment, refund or release is pending, a name
    /// or an e-mail address remains, or a request may still insert one.
    pub async fn finish_account_deletion(&self, user_id: i32, now: DateTime<Utc>) -> sqlx::Result<bool> {
        let mut tx = self.pool.begin().await?;
        // Whoever inserts or moves a booking locks this row too (migration 0011): before this, and the next statement
        // sees the booking; or after the commit, and the deletion is reopened.
        sqlx::query!("select user_id from account_deletions where user_id = $1 for update", user_id)
            .fetch_one(&mut *tx)
            .await?;
        let result = sqlx::query!(
            "update account_deletions set finished_at = now(), lease_until = null
             where user_id = $1 and finished_at is null and received_at <= now() - make_interval(secs => $3)
                 and not exists (
                     select from bookings b
                     where b.user_id = $1 and (
                         b.status = 'Pending'
                         or (b.status = 'Confirmed' and (b.event_starts_at < $2) is not true
                             and not exists (select from tickets t where t.booking_id = b.id and t.state = 'used'))
                         or b.release_pending or b.user_name <> '' or b.user_email <> ''
                         or exists (select from tickets t where t.booking_id = b.id and t.holder_name <> '')
                         or exists (select from payments p
                                    where p.booking_id = b.id
                                        and (p.state = 'started' or (p.state = 'succeeded' and p.settled_at is null)))
                         or exists (select from refunds r where r.booking_id = b.id and r.state = 'pending')
                     )
                 )",
            user_id,
            now,
            MIN_DELETION_SECONDS,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(result.rows_affected() == 1)
    }

    /// Ends the lease and makes the deletion due again later, with exponential backoff.
    pub async fn postpone_account_deletion(&self, user_id: i32) -> sqlx::Result<()> {
        sqlx::query!(
            "update account_deletions set
                 lease_until = null,
                 next_check_at = now() + make_interval(secs => least($2, power(2, least(checks, 6))))
             where user_id = $1 and finished_at is null",
            user_id,
            MAX_PAUSE_SECONDS,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
