//! Queries of the reconciler: the tables `patrols` and `findings`, and our side of what is compared.

use std::time::Duration;

use uuid::Uuid;

use super::Store;
use crate::domain::{
    AttemptState, BookingStatus, FindingKind, PaymentStatus,
    reconciliation::{Claim, Holding, Telling},
};

/// A row that changed less than this time ago says nothing yet, in seconds. Longer than any call of a neighbour.
const UNSETTLED_SECONDS: f64 = 60.0;
/// Messages are compared for bookings younger than this: published ones are kept a day longer.
const TOLD_SECONDS: f64 = 6.0 * 24.0 * 3600.0;

/// The word for a comparison, and where it stands.
#[derive(Clone, Debug)]
pub struct Round {
    /// The patrol.
    pub patrol: &'static str,
    /// What the last round ended at; `None` at the beginning of a cycle.
    pub position: Option<String>,
}

/// How long ago a patrol last ended a round.
#[derive(Clone, Debug)]
pub struct PatrolLag {
    /// The patrol.
    pub patrol: String,
    /// In seconds.
    pub seconds: f64,
}

impl Store {
    /// Claims the next round of a patrol if it is due; no other replica gets it, nor the one after before `interval`.
    pub async fn claim_round(&self, patrol: &'static str, interval: Duration) -> sqlx::Result<Option<Round>> {
        let claimed = sqlx::query!(
            "update patrols set next_round_at = now() + make_interval(secs => $2)
             where name = $1 and next_round_at <= now()
             returning position",
            patrol,
            interval.as_secs_f64(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(claimed.map(|row| Round { patrol, position: row.position }))
    }

    /// Stores how far a round came. Without a position the cycle is over, and what it did not find again is forgotten.
    /// Changes nothing if another replica went on from the same place meanwhile.
    pub async fn finish_round(&self, round: &Round, position: Option<&str>) -> sqlx::Result<()> {
        let mut tx = self.pool.begin().await?;
        let began = sqlx::query_scalar!(
            r#"update patrols set position = $3, round_ended_at = now(),
                   cycle_began_at = case when $3::text is null then now() else cycle_began_at end
               from (select cycle_began_at as began from patrols where name = $1 for update) as before
               where name = $1 and position is not distinct from $2
               returning began as "began!""#,
            round.patrol,
            round.position,
            position,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let (Some(began), None) = (began, position) {
            sqlx::query!("delete from findings where patrol = $1 and seen_at < $2", round.patrol, began)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }

    /// Stores that something differs, or that it still does.
    pub async fn store_finding(
        &self,
        patrol: &str,
        kind: FindingKind,
        subject: &str,
        booking_id: Option<i32>,
    ) -> sqlx::Result<()> {
        sqlx::query!(
            "insert into findings (kind, subject, patrol, booking_id) values ($1, $2, $3, $4)
             on conflict (kind, subject) do update set seen_at = now(), booking_id = excluded.booking_id",
            kind.as_str(),
            subject,
            patrol,
            booking_id,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// How many findings of that kind stand.
    pub async fn count_findings(&self, kind: FindingKind) -> sqlx::Result<i64> {
        sqlx::query_scalar!(r#"select count(*) as "count!" from findings where kind = $1"#, kind.as_str())
            .fetch_one(&self.pool)
            .await
    }

    /// How long ago each patrol last ended a round.
    pub async fn list_patrol_lags(&self) -> sqlx::Result<Vec<PatrolLag>> {
        sqlx::query_as!(
            PatrolLag,
            r#"select name as patrol,
                      extract(epoch from now() - round_ended_at)::double precision as "seconds!" from patrols"#
        )
        .fetch_all(&self.pool)
        .await
    }

    /// The bookings of those reservations; and the Confirmed ones, up to `limit`, whose reservation is above `after`
    /// and not above `last`.
    pub async fn list_holdings(
        &self,
        reservations: &[Uuid],
        after: Option<Uuid>,
        last: Option<Uuid>,
        limit: i64,
    ) -> sqlx::Result<Vec<Holding>> {
        sqlx::query_as!(
            Holding,
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
                      updated_at < now() - make_interval(secs => $5) as "settled!",
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
            UNSETTLED_SECONDS,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Has the sweeper give back the seats of an ended booking that was thought to have none. False if it stands
    /// elsewhere.
    ///
    /// Not while a payment is undecided: it may still win the booking its seats.
    pub async fn owe_forgotten_release(&self, reservation: Uuid) -> sqlx::Result<bool> {
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

    /// The attempts that go by those names at the gateway.
    pub async fn list_claims(&self, charges: &[String]) -> sqlx::Result<Vec<Claim>> {
        sqlx::query_as!(
            Claim,
            r#"select booking_id, gateway_id as "gateway_id!", state as "state: AttemptState", amount,
                      updated_at < now() - make_interval(secs => $2) as "settled!"
               from payments where gateway_id = any($1)"#,
            charges,
            UNSETTLED_SECONDS,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Up to `limit` bookings with ids below `before`, newest first, and how often their owners were told what.
    pub async fn list_tellings(&self, before: i32, limit: i64) -> sqlx::Result<Vec<Telling>> {
        sqlx::query_as!(
            Telling,
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
            TOLD_SECONDS,
        )
        .fetch_all(&self.pool)
        .await
    }
}
