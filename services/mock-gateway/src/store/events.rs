//! Queries of the table `events`, the outbox of webhooks. Times come from the database's clock, so replicas agree.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;

use super::{Store, new_id};
use crate::domain::{intent::PaymentIntent, objects};

/// An event that this replica claimed and delivers before its lease expires.
#[derive(Clone, Debug)]
pub struct DueEvent {
    pub seq: i64,
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

/// Writes an event about `object`, in the transaction that changed the object.
pub async fn insert(conn: &mut PgConnection, kind: &str, intent: &PaymentIntent, object: &Value) -> sqlx::Result<()> {
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
    /// Claims due events for `lease`, except those older than `give_up_after`.
    pub async fn claim_events(
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

    /// Marks an event as delivered. Earlier events of its payment intent that were held back become due.
    pub async fn finish_event(&self, event: &DueEvent) -> sqlx::Result<()> {
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

    /// Marks an event as finished without a delivery.
    pub async fn drop_event(&self, id: &str) -> sqlx::Result<()> {
        sqlx::query!("update events set finished_at = now() where id = $1", id).execute(&self.pool).await.map(drop)
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
