//! Queries of the tables `outbox` and `processed_messages`, and of what is old enough to go.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::message::Message;
use platform::{
    outbox::{CLAIM_LEASE, OutboxMessage, OutboxStore},
    trace::RequestContext,
};
use sqlx::types::Json;
use uuid::Uuid;

use super::{Store, Unit};

/// Published messages and the ids of consumed ones are kept this long.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far publishing is behind.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLag {
    /// Messages not yet published.
    pub messages: i64,
    /// Age of the oldest of them, in seconds; 0 if there is none.
    pub seconds: f64,
}

struct Row {
    id: Uuid,
    message: Json<Message>,
    traceparent: Option<String>,
    created_at: DateTime<Utc>,
}

impl Store {
    /// How far publishing is behind.
    pub async fn outbox_lag(&self) -> sqlx::Result<OutboxLag> {
        sqlx::query_as!(
            OutboxLag,
            r#"select count(*) as "messages!",
                      coalesce(extract(epoch from now() - min(created_at)), 0)::double precision as "seconds!"
               from outbox where published_at is null"#
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Whether that message was consumed to the end.
    pub async fn is_processed(&self, message_id: Uuid) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"select exists (select from processed_messages where message_id = $1) as "exists!""#,
            message_id
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Stores that a message was consumed to the end.
    pub async fn store_processed(&self, message_id: Uuid) -> sqlx::Result<()> {
        sqlx::query!("insert into processed_messages (message_id) values ($1) on conflict do nothing", message_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deletes what was published or consumed long ago; returns how many rows.
    pub async fn purge_messages(&self) -> sqlx::Result<u64> {
        let seconds = RETENTION.as_secs_f64();
        let published =
            sqlx::query!("delete from outbox where published_at < now() - make_interval(secs => $1)", seconds)
                .execute(&self.pool)
                .await?;
        let consumed = sqlx::query!(
            "delete from processed_messages where processed_at < now() - make_interval(secs => $1)",
            seconds
        )
        .execute(&self.pool)
        .await?;
        Ok(published.rows_affected() + consumed.rows_affected())
    }
}

impl Unit {
    /// Writes a message that is published once this transaction is committed.
    pub async fn tell(&mut self, message: &Message) -> sqlx::Result<()> {
        self.tell_as(Uuid::now_v7(), message).await
    }

    /// [`Unit::tell`] under an id of the caller's; the same id is written once.
    pub async fn tell_as(&mut self, id: Uuid, message: &Message) -> sqlx::Result<()> {
        if platform::guard_removed!("booking.outbox") {
            return Ok(());
        }
        let traceparent = RequestContext::current().map(|context| context.trace.to_string());
        sqlx::query!(
            "insert into outbox (id, message, traceparent) values ($1, $2, $3) on conflict (id) do nothing",
            id,
            Json(message) as _,
            traceparent,
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

impl OutboxStore for Store {
    async fn claim(&self, limit: u32) -> anyhow::Result<Vec<OutboxMessage>> {
        let mut rows = sqlx::query_as!(
            Row,
            r#"update outbox set lease_until = now() + make_interval(secs => $2)
               where id in (
                   select id from outbox
                   where published_at is null and (lease_until is null or lease_until <= now())
                   order by created_at limit $1 for update skip locked
               )
               returning id, message as "message: Json<Message>", traceparent, created_at"#,
            i64::from(limit),
            CLAIM_LEASE.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.sort_by_key(|row| row.created_at);
        let convert = |row: Row| OutboxMessage {
            id: row.id,
            message: row.message.0,
            traceparent: row.traceparent,
            created_at: row.created_at,
        };
        Ok(rows.into_iter().map(convert).collect())
    }

    async fn mark_published(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        sqlx::query!("update outbox set published_at = now() where id = any($1) and published_at is null", ids)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn release(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        sqlx::query!("update outbox set lease_until = null where id = any($1) and published_at is null", ids)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
