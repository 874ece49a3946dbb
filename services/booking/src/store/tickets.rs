//! Queries of the table `tickets`.
//!
//! Triggers of migration 0012 make the tickets of a booking that is confirmed, and void them when it is cancelled, in the
//! same statement. Bookings are locked before their tickets everywhere, so that two transactions cannot deadlock.

use chrono::{DateTime, Utc};
use platform::postgres::violated_constraint;
use uuid::Uuid;

use super::{Store, UnitOfWork};
use crate::domain::{Scan, Ticket, TicketState};

/// A query that returns tickets: `$before`, `select` with the columns of `tickets t` and `bookings b`, `$after`.
macro_rules! tickets {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Ticket,
            $before
                + r#" select t.id, t.booking_id, t.seat, t.holder_name, t.state as "state: TicketState", t.code_id,
                     t.version, t.checked_in_at as "checked_in_at?", t.device as "device?", t.scan_id as "scan_id?",
                     b.user_id, b.event_id, b.event_title as "event_title?", b.event_starts_at as "event_starts_at?",
                     b.organizer_id as "organizer_id?" "#
                + $after
            $(, $argument)*
        )
    };
}

/// What became of a check-in.
#[derive(Clone, Debug)]
pub enum CheckIn {
    Done(Ticket),
    /// The ticket changed since it was read.
    Stale,
    /// Another ticket was checked in by a scan of that id.
    ScanIdReused,
}

/// How many people have come to an event.
#[derive(Clone, Copy, Debug)]
pub struct Attendance {
    /// Tickets that are checked in.
    pub present: i64,
    /// Tickets that are not void, checked in or not.
    pub expected: i64,
}

impl Store {
    /// The tickets of these bookings, by booking and seat.
    pub async fn list_tickets(&self, booking_ids: &[i32]) -> sqlx::Result<Vec<Ticket>> {
        tickets!(
            "",
            "from tickets t join bookings b on b.id = t.booking_id where t.booking_id = any($1)
             order by t.booking_id, t.seat",
            booking_ids,
        )
        .fetch_all(&self.pool)
        .await
    }

    pub async fn find_ticket(&self, id: i32) -> sqlx::Result<Option<Ticket>> {
        tickets!("", "from tickets t join bookings b on b.id = t.booking_id where t.id = $1", id)
            .fetch_optional(&self.pool)
            .await
    }

    /// The ticket whose present code names this.
    pub async fn find_ticket_by_code(&self, code_id: Uuid) -> sqlx::Result<Option<Ticket>> {
        tickets!("", "from tickets t join bookings b on b.id = t.booking_id where t.code_id = $1", code_id)
            .fetch_optional(&self.pool)
            .await
    }

    /// Tickets of an event with ids above `after`, by id. Void ones are among them, so that scanners know them.
    pub async fn list_event_tickets(
        &self,
        event_id: &str,
        after: Option<i32>,
        limit: i64,
    ) -> sqlx::Result<Vec<Ticket>> {
        tickets!(
            "",
            "from tickets t join bookings b on b.id = t.booking_id
             where b.event_id = $1 and ($2::integer is null or t.id > $2)
             order by t.id limit $3",
            event_id,
            after,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }

    pub async fn count_attendance(&self, event_id: &str) -> sqlx::Result<Attendance> {
        sqlx::query_as!(
            Attendance,
            r#"select count(*) filter (where t.state = 'used') as "present!", count(*) as "expected!"
               from tickets t join bookings b on b.id = t.booking_id
               where b.event_id = $1 and t.state <> 'void'"#,
            event_id,
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Checks a valid ticket in.
    ///
    /// The lock on the booking keeps its cancellation away, which is refused once a ticket is used.
    pub async fn check_in(&self, ticket: &Ticket, scan: &Scan, now: DateTime<Utc>) -> sqlx::Result<CheckIn> {
        let checked_in = tickets!(
            "with b as (
                 select * from bookings where id = $1 and status = 'Confirmed' for share
             ), t as (
                 update tickets set
                     state = 'used', checked_in_at = $4, device = $5, scan_id = $6, version = version + 1
                 where id = $2 and version = $3 and state = 'valid' and exists (select from b)
                 returning *
             )",
            "from t join b on b.id = t.booking_id",
            ticket.booking_id,
            ticket.id,
            ticket.version,
            now,
            scan.device.as_deref(),
            scan.scan_id,
        )
        .fetch_optional(&self.pool)
        .await;
        match checked_in {
            Ok(checked_in) => Ok(checked_in.map_or(CheckIn::Stale, CheckIn::Done)),
            Err(error) if violated_constraint(&error) == Some("tickets_scan_once") => Ok(CheckIn::ScanIdReused),
            Err(error) => Err(error),
        }
    }

    /// Makes a used ticket valid again. False if it is not used.
    ///
    /// The deletion of its owner's account starts again: the booking may be open now, and has to be cancelled.
    pub async fn undo_check_in(&self, ticket: &Ticket) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"with undone as (
                   update tickets set
                       state = 'valid', checked_in_at = null, device = null, scan_id = null, version = version + 1
                   where id = $1 and state = 'used'
                   returning id
               ), reopened as (
                   update account_deletions
                   set finished_at = null, lease_until = null, next_check_at = now(), checks = 0
                   where user_id = $2 and exists (select from undone)
               )
               select exists (select from undone) as "undone!""#,
            ticket.id,
            ticket.user_id,
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Gives a valid ticket another holder and another code. `None` if it changed since it was read, or if the owner's
    /// account was deleted.
    pub async fn rename_ticket(&self, ticket: &Ticket, holder_name: &str) -> sqlx::Result<Option<Ticket>> {
        // The erasure of a deleted account blanks the name in the booking, which is locked here: before this, and the name
        // is not stored; or afterwards, and it is erased.
        tickets!(
            "with b as (
                 select * from bookings
                 where id = $1 and status = 'Confirmed' and user_name <> ''
                     and not exists (select from account_deletions d where d.user_id = bookings.user_id)
                 for update
             ), t as (
                 update tickets set holder_name = $4, code_id = gen_random_uuid(), version = version + 1
                 where id = $2 and version = $3 and state = 'valid' and exists (select from b)
                 returning *
             )",
            "from t join b on b.id = t.booking_id",
            ticket.booking_id,
            ticket.id,
            ticket.version,
            holder_name,
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Makes the tickets of up to `limit` bookings that were Confirmed before there were tickets. False once none is left,
    /// or while another replica is at it.
    pub async fn issue_missing_tickets(&self, limit: i64) -> sqlx::Result<bool> {
        let mut tx = self.pool.begin().await?;
        let progress = sqlx::query!(
            "select position from backfills where name = 'tickets' and position < last_id for update skip locked"
        );
        let Some(progress) = progress.fetch_optional(&mut *tx).await? else { return Ok(false) };
        // The lock on the bookings keeps cancellations away, which void tickets that exist.
        sqlx::query!(
            "with confirmed as (
                 select id, seats, user_name from bookings
                 where id > $1 and id <= (select last_id from backfills where name = 'tickets')
                     and status = 'Confirmed'
                 order by id limit $2 for share
             ), made as (
                 insert into tickets (booking_id, seat, holder_name)
                 select id, seat, user_name from confirmed cross join generate_series(1, seats) seat
                 on conflict (booking_id, seat) do nothing
             )
             update backfills
             set position = case when (select count(*) from confirmed) < $2 then last_id
                                 else (select max(id) from confirmed) end
             where name = 'tickets'",
            progress.position,
            limit,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl UnitOfWork {
    /// Whether a ticket of a booking, which the caller has locked, is checked in.
    pub async fn is_checked_in(&mut self, booking_id: i32) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"select exists (select from tickets where booking_id = $1 and state = 'used') as "exists!""#,
            booking_id,
        )
        .fetch_one(&mut *self.tx)
        .await
    }
}
