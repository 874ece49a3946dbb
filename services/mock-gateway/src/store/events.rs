//! Queries of the table `events`: webhooks on their way. All times are the database's, so replicas agree.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;

use super::Store;
use crate::{
    domain::{intent::PaymentIntent, new_id},
    objects,
};

/// An event that is due, and ours until its lease is over.
#[derive(Clone, Debug)]
pub(crate) struct DueEvent {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) payment_intent: String,
    pub(crate) booking_id: Option<String>,
    pub(crate) body: String,
    /// How often it was tried, this time included.
    pub(crate) attempts: i32,
    /// The misbehaviour that it met already.
    pub(crate) fault: Option<String>,
}

/// Writes an event about `object`, in the transaction that brought it about.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    kind: &str,
    intent: &PaymentIntent,
    object: &Value,
) -> sqlx::Result<()> {
    let id = new_id("evt");
    let created = sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&mut *conn).await?;
    let body = objects::event(&id, kind, created.timestamp(), object).to_string();
    sqlx::query!(
        "insert into events (id, type, payment_intent, booking_id, body) values ($1, $2, $3, $4, $5)",
        id,
        kind,
        intent.id,
        intent.booking_id,
        body
    )
    .execute(conn)
    .await
    .map(drop)
}

impl Store {
    /// Claims events that are due, for `lease`. Those older than `give_up_after` are left alone.
    pub(crate) async fn claim_events(
        &self,
        limit: i64,
        lease: Duration,
        give_up_after: Duration,
    ) -> sqlx::Result<Vec<DueEvent>> {
        sqlx::query_as!(
            DueEvent,
            r#"update events set due_at = now() + make_interval(secs => $2), attempts = attempts + 1
               where id in (
                   select id from events
                   where finished_at is null and due_at <= now() and created_at > now() - make_interval(secs => $3)
                   order by due_at, seq limit $1 for update skip locked)
               returning seq, id, type as kind, payment_intent, booking_id, body, attempts, fault"#,
            limit,
            lease.as_secs_f64(),
            give_up_after.as_secs_f64()
        )
        .fetch_all(&self.pool)
        .await
    }

    /// It was delivered: whatever was held back for it may follow.
    pub(crate) async fn finish_event(&self, event: &DueEvent) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query!("update events set finished_at = now() where id = $1 and finished_at is null", event.id)
            .execute(&mut *tx)
            .await?;
        sqlx::query!(
            "update events set held_back = false, due_at = now()
             where payment_intent = $1 and seq < $2 and held_back and finished_at is null",
            event.payment_intent,
            event.seq
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Tries it again after a while.
    pub(crate) async fn postpone_event(&self, id: &str, by: Duration) -> sqlx::Result<()> {
        let sql = sqlx::query!(
            "update events set due_at = now() + make_interval(secs => $2) where id = $1 and finished_at is null",
            id,
            by.as_secs_f64()
        );
        sql.execute(&self.pool).await.map(drop)
    }

    /// Remembers the misbehaviour that an event met, so that it meets no other.
    pub(crate) async fn mark_event_fault(&self, id: &str, fault: &str) -> sqlx::Result<()> {
        sqlx::query!("update events set fault = $2 where id = $1", id, fault).execute(&self.pool).await.map(drop)
    }

    /// Never sends it.
    pub(crate) async fn drop_event(&self, id: &str) -> sqlx::Result<()> {
        sqlx::query!("update events set finished_at = now() where id = $1", id).execute(&self.pool).await.map(drop)
    }

    /// Holds it back until a later event of its intent was delivered, `at_most` this long.
    pub(crate) async fn hold_event_back(&self, id: &str, at_most: Duration) -> sqlx::Result<()> {
        let sql = sqlx::query!(
            "update events set held_back = true, due_at = now() + make_interval(secs => $2) where id = $1",
            id,
            at_most.as_secs_f64()
        );
        sql.execute(&self.pool).await.map(drop)
    }

    /// How many are on their way, and the age of the oldest in seconds.
    pub(crate) async fn count_pending_events(&self) -> sqlx::Result<(f64, f64)> {
        let row = sqlx::query!(
            r#"select count(*)::float8 as "count!", coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as "age!"
               from events where finished_at is null"#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.count, row.age))
    }
}
