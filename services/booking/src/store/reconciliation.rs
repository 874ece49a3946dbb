//! Queries of the tables `patrols` (how far each scan has come) and `findings`, and the rows that the reconciler
//! compares.

use std::time::Duration;

use uuid::Uuid;

use super::Store;
use crate::domain::{
    AttemptState, BookingStatus, FindingKind, PaymentStatus,
    reconciliation::{HeldReservation, MessageAudit, PaymentRecord, TicketAudit},
};

/// Rows that changed more recently than this are not comparable, in seconds. Longer than any call to another service.
const MIN_ROW_AGE_SECONDS: f64 = 60.0;
/// Age up to which bookings have their messages audited, in seconds. Published messages are kept a day longer.
const MESSAGE_AUDIT_SECONDS: f64 = 6.0 * 24.0 * 3600.0;

/// The next page of a scan, claimed by this replica.
#[derive(Clone, Debug)]
pub struct ScanPage {
    pub scan: String,
    /// Where the previous page ended; `None` at the beginning of a cycle.
    pub position: Option<String>,
}

/// Whether the next page of a scan was claimed.
#[derive(Clone, Debug)]
pub enum PageClaim {
    Claimed(ScanPage),
    /// It is due after this time.
    DueIn(Duration),
}

impl Store {
    /// Claims the next page of each of these scans that is due. The following one is due after `interval`, on whichever
    /// replica.
    pub async fn claim_pages(&self, scans: &[&str], interval: Duration) -> sqlx::Result<Vec<PageClaim>> {
        let rows = sqlx::query!(
            r#"with claimed as (
                   update patrols set next_round_at = now() + make_interval(secs => $2)
                   where name = any($1) and next_round_at <= now()
                   returning name, position
               )
               select name as "name!", c.name is not null as "claimed!", c.position as "position?",
                      extract(epoch from p.next_round_at - now())::double precision as "seconds!"
               from patrols p left join claimed c using (name) where name = any($1)"#,
            scans as _,
            interval.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        let states = rows.into_iter().map(|row| {
            if row.claimed {
                PageClaim::Claimed(ScanPage { scan: row.name, position: row.position })
            } else {
                PageClaim::DueIn(Duration::try_from_secs_f64(row.seconds).unwrap_or_default())
            }
        });
        Ok(states.collect())
    }

    /// Stores where a page ended. Without a position the cycle is over, and findings that it did not see again are
    /// deleted. Changes nothing if another replica continued from the same position meanwhile.
    pub async fn finish_page(&self, page: &ScanPage, position: Option<&str>) -> sqlx::Result<()> {
        sqlx::query!(
            "with ended as (
                 update patrols set position = $3, round_ended_at = now(),
                     cycle_began_at = case when $3::text is null then now() else cycle_began_at end
                 from (select cycle_began_at as began from patrols where name = $1 for update) as before
                 where name = $1 and position is not distinct from $2
                 returning began
             )
             delete from findings using ended where patrol = $1 and seen_at < began and $3::text is null",
            page.scan,
            page.position,
            position,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Stores a finding, or that it persists.
    pub async fn store_finding(
        &self,
        scan: &str,
        kind: FindingKind,
        subject: &str,
        booking_id: Option<i32>,
    ) -> sqlx::Result<()> {
        sqlx::query!(
            "insert into findings (kind, subject, patrol, booking_id) values ($1, $2, $3, $4)
             on conflict (kind, subject) do update set seen_at = now(), booking_id = excluded.booking_id",
            kind.into_str(),
            subject,
            scan,
            booking_id,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The bookings of these reservations, and up to `limit` Confirmed ones with a reservation id above `after` and up to
    /// `last`.
    pub async fn list_held_reservations(
        &self,
        reservations: &[Uuid],
        after: Option<Uuid>,
        last: Option<Uuid>,
        limit: i64,
    ) -> sqlx::Result<Vec<HeldReservation>> {
        sqlx::query_as!(
            HeldReservation,
            r#"with compared as (
                   select id from bookings where reservation_id = any($1)
                   union
                   (select id from bookings
                    where status = 'Confirmed' and ($2::uuid is null or reservation_id > $2)
                        and ($3::uuid is null or reservation_id <= $3)
                    order by reservation_id limit $4)
               )
               select id as booking_id, event_id, reservation_id, status as "status: BookingStatus", seats,
                      coalesce(amount = 0, false) as "free!",
                      updated_at < now() - make_interval(secs => $5) as "comparable!",
                      release_pending or exists (
                          select from payments p
                          where p.booking_id = b.id
                              and (p.state = 'started' or (p.state = 'succeeded' and p.settled_at is null))
                      ) as "under_way!"
               from bookings b where id in (select id from compared)"#,
            reservations,
            after,
            last,
            limit,
            MIN_ROW_AGE_SECONDS,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Marks that an ended booking still has seats to release. False if it has not ended, or is marked already.
    ///
    /// Not while a payment is unresolved, because it may still confirm the seats.
    pub async fn mark_missed_release_pending(&self, reservation: Uuid) -> sqlx::Result<bool> {
        let result = sqlx::query!(
            "update bookings b set
                 release_pending = true, lease_until = null, next_check_at = now(), checks = 0, updated_at = now()
             where reservation_id = $1 and status in ('Rejected', 'Cancelled', 'Expired') and not release_pending
                 and not exists (select from payments p
                                 where p.booking_id = b.id
                                     and (p.state = 'started' or (p.state = 'succeeded' and p.settled_at is null)))",
            reservation,
        )
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected() == 1)
    }

    /// The payment attempts of these charges.
    pub async fn list_payment_records(&self, charges: &[String]) -> sqlx::Result<Vec<PaymentRecord>> {
        sqlx::query_as!(
            PaymentRecord,
            r#"select booking_id, gateway_id as "gateway_id!", state as "state: AttemptState", amount,
                      updated_at < now() - make_interval(secs => $2) as "comparable!"
               from payments where gateway_id = any($1)"#,
            charges,
            MIN_ROW_AGE_SECONDS,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Up to `limit` bookings with ids below `before`, newest first, and the numbers of their messages.
    pub async fn list_message_audits(&self, before: i32, limit: i64) -> sqlx::Result<Vec<MessageAudit>> {
        sqlx::query_as!(
            MessageAudit,
            r#"select b.id as booking_id, b.status as "status: BookingStatus",
                      b.payment_status as "payment_status: PaymentStatus", b.recent as "recent!",
                      count(*) filter (where o.message ->> 'type' = 'booking.confirmed') as "confirmed!",
                      count(*) filter (where o.message ->> 'type' = 'booking.cancelled') as "cancelled!",
                      count(*) filter (where o.message ->> 'type' = 'booking.expired') as "expired!",
                      count(*) filter (where o.message ->> 'type' = 'booking.refunded') as "refunded!"
               from (select id, status, payment_status,
                            created_at > (now() at time zone 'utc') - make_interval(secs => $3) as recent
                     from bookings where id < $1 order by id desc limit $2) as b
               left join outbox o on o.message ->> 'booking_id' = b.id::text
               group by b.id, b.status, b.payment_status, b.recent order by b.id desc"#,
            before,
            limit,
            MESSAGE_AUDIT_SECONDS,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Up to `limit` bookings with ids above `after`, by id, and their tickets that are not void.
    pub async fn list_ticket_audits(&self, after: i32, limit: i64) -> sqlx::Result<Vec<TicketAudit>> {
        sqlx::query_as!(
            TicketAudit,
            r#"select b.id as booking_id, b.status as "status: BookingStatus", b.seats,
                      array(select t.seat from tickets t
                            where t.booking_id = b.id and t.state <> 'void' order by t.seat) as "ticket_seats!",
                      exists (select from backfills
                              where name = 'tickets' and b.id > position and b.id <= last_id) as "awaits_backfill!"
               from bookings b where b.id > $1 order by b.id limit $2"#,
            after,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }
}
