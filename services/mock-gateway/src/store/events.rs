//! Queries of the table `events`, the outbox of webhooks. Times come from the database's clock, so replicas agree.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{Store, new_id};
use crate::domain::{intent::PaymentIntent, objects};

/// How long an event is left to the replica that committed or claimed it; longer than a delivery takes.
pub const LEASE: Duration = Duration::from_secs(15);

/// An event that this replica delivers before its lease expires.
#[derive(Clone, Debug)]
pub struct DueEvent {
    pub id: String,
    pub kind: String,
    pub payment_intent: String,
    pub booking_id: Option<String>,
    pub body: String,
    /// The number of attempts, this one included.
    pub attempts: i32,
    /// The fault that was injected into it.
    pub fault: Option<String>,
}

impl DueEvent {
    /// A new event about `object`, which the replica that commits it delivers.
    pub fn new(kind: &str, intent: &PaymentIntent, object: &Value, now: DateTime<Utc>) -> Self {
        let id = new_id("evt");
        Self {
            body: objects::event(&id, kind, now.timestamp(), object).to_string(),
            id,
            kind: kind.to_owned(),
            payment_intent: intent.id.clone(),
            booking_id: intent.booking_id.clone(),
            attempts: 1,
            fault: None,
        }
    }
}

/// Writes a new event, in the transaction that changed the object.
pub async fn insert(conn: &mut PgConnection, event: &DueEvent) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into events (id, type, payment_intent, booking_id, body, attempts, due_at)
         values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))",
        event.id,
        event.kind,
        event.payment_intent,
        event.booking_id,
        event.body,
        event.attempts,
        LEASE.as_secs_f64()
    )
    .execute(conn)
    .await
    .map(drop)
}

impl Store {
    /// Claims due events, except those older than `give_up_after`.
    pub async fn claim_events(&self, limit: i64, give_up_after: Duration) -> sqlx::Result<Vec<DueEvent>> {
        sqlx::query_as!(
            DueEvent,
            r#"update events set due_at = now() + make_interval(secs => $2), attempts = attempts + 1
               where id in (
                   select id from events
                   where finished_at is null and due_at <= now() and created_at > now() - make_interval(secs => $3)
                   order by due_at, seq limit $1 for update skip locked)
               returning id, type as kind, payment_intent, booking_id, body, attempts, fault"#,
            limit,
            LEASE.as_secs_f64(),
            give_up_after.as_secs_f64()
        )
        .fetch_all(&self.pool)
        .await
    }

    /// The time until the next event is due. `None` if there is none.
    pub async fn next_event_due(&self, give_up_after: Duration) -> sqlx::Result<Option<Duration>> {
        let seconds = sqlx::query_scalar!(
            "select extract(epoch from min(due_at) - now())::float8 from events
             where finished_at is null and created_at > now() - make_interval(secs => $1)",
            give_up_after.as_secs_f64()
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    }

    /// Marks events as finished. Earlier events of their payment intents that were held back become due; returns how
    /// many.
    pub async fn finish_events(&self, ids: &[String]) -> sqlx::Result<u64> {
        let released = sqlx::query!(
            "with finished as (
                 update events set finished_at = now() where id = any($1) and finished_at is null
                 returning payment_intent, seq
             )
             update events held set held_back = false, due_at = now() from finished
             where held.payment_intent = finished.payment_intent and held.seq < finished.seq
                 and held.held_back and held.finished_at is null and held.id <> all($1)",
            ids
        )
        .execute(&self.pool)
        .await?;
        Ok(released.rows_affected())
    }

    /// Makes it due again after `by`.
    pub async fn postpone_event(&self, id: &str, by: Duration) -> sqlx::Result<()> {
        let sql = sqlx::query!(
            "update events set due_at = now() + make_interval(secs => $2) where id = $1 and finished_at is null",
            id,
            by.as_secs_f64()
        );
        sql.execute(&self.pool).await.map(drop)
    }

    /// Records the injected fault, so that no other is injected.
    pub async fn mark_event_fault(&self, id: &str, fault: &str) -> sqlx::Result<()> {
        sqlx::query!("update events set fault = $2 where id = $1", id, fault).execute(&self.pool).await.map(drop)
    }

    /// Holds an event back until a later event of its payment intent is delivered, but at most for `at_most`.
    pub async fn hold_back_event(&self, id: &str, at_most: Duration) -> sqlx::Result<()> {
        let sql = sqlx::query!(
            "update events set held_back = true, due_at = now() + make_interval(secs => $2) where id = $1",
            id,
            at_most.as_secs_f64()
        );
        sql.execute(&self.pool).await.map(drop)
    }

    /// The number of undelivered events, and the age of the oldest in seconds.
    pub async fn count_pending_events(&self) -> sqlx::Result<(f64, f64)> {
        let row = sqlx::query!(
            r#"select count(*)::float8 as "count!", coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as "age!"
               from events where finished_at is null"#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.count, row.age))
    }
}
