//! The table `outbox`, which each service with PostgreSQL creates by its own migration:
//!
//! ```sql
//! create table outbox (
//!     id uuid primary key,
//!     message jsonb not null,
//!     traceparent text,
//!     created_at timestamptz not null default now(),
//!     lease_until timestamptz,
//!     attempts integer not null default 0,
//!     published_at timestamptz
//! );
//! create index outbox_due on outbox (attempts, created_at) where published_at is null;
//! create index outbox_published on outbox (published_at) where published_at is not null;
//! ```
//!
//! The queries are checked at run time, not at compile time, because this crate has no database of its own. None of
//! them fails on an invalid row, because the other rows would wait for it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::message::Message;
use sqlx::{PgConnection, PgPool, types::Json};
use uuid::Uuid;

use super::{Backlog, CLAIM_LEASE, HANDOFF_LEASE, OutboxMessage, OutboxRow, OutboxStore};
use crate::{bus::MAX_BODY_BYTES, trace::RequestContext};

/// Published messages are kept this long.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Writes a message, to be published once the transaction of `connection` commits. An id is written only once.
pub async fn enqueue(connection: &mut PgConnection, id: Uuid, message: &Message) -> sqlx::Result<()> {
    insert(connection, id, message, None).await.map(drop)
}

/// [`enqueue`] with a lease: the caller gives the row to [`Handoff`](super::Handoff) after the commit. If it does not, a
/// relay claims the row when the lease has ended. `None` if the id was written before.
pub async fn enqueue_leased(
    connection: &mut PgConnection,
    id: Uuid,
    message: &Message,
) -> sqlx::Result<Option<OutboxRow<Uuid>>> {
    insert(connection, id, message, Some(HANDOFF_LEASE)).await
}

async fn insert(
    connection: &mut PgConnection,
    id: Uuid,
    message: &Message,
    lease: Option<Duration>,
) -> sqlx::Result<Option<OutboxRow<Uuid>>> {
    let traceparent = RequestContext::current().map(|context| context.trace.to_string());
    let created_at = sqlx::query_scalar(
        "insert into outbox (id, message, traceparent, lease_until)
         values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
         on conflict (id) do nothing returning created_at",
    )
    .bind(id)
    .bind(Json(message))
    .bind(&traceparent)
    .bind(lease.map(|lease| lease.as_secs_f64()))
    .fetch_optional(connection)
    .await?;
    let row = |created_at| OutboxRow::from(OutboxMessage { id, message: message.clone(), traceparent, created_at });
    Ok(created_at.map(row))
}

/// Like [`enqueue`], but if the message of that id was published, it is published again.
pub async fn enqueue_again(connection: &mut PgConnection, id: Uuid, message: &Message) -> sqlx::Result<()> {
    sqlx::query(
        "insert into outbox as o (id, message) values ($1, $2)
         on conflict (id) do update set published_at = null, created_at = now(), lease_until = null, attempts = 0
             where o.published_at is not null",
    )
    .bind(id)
    .bind(Json(message))
    .execute(connection)
    .await
    .map(drop)
}

/// The outbox in PostgreSQL. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PgOutbox {
    pool: PgPool,
}

impl PgOutbox {
    /// The outbox in the database of `pool`.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// What waits to be published.
    pub async fn backlog(&self) -> sqlx::Result<Backlog> {
        let (unpublished, refused, lag_seconds) = sqlx::query_as::<_, (i64, i64, f64)>(
            "select count(*), count(*) filter (where attempts > 0),
                    coalesce(extract(epoch from
                        now() - min(least(greatest(created_at, 'epoch'), now())) filter (where attempts = 0)
                    ), 0)::double precision
             from outbox where published_at is null",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Backlog { unpublished: unpublished.unsigned_abs(), refused: refused.unsigned_abs(), lag_seconds })
    }

    /// Deletes messages that were published long ago; returns how many.
    pub async fn purge(&self) -> sqlx::Result<u64> {
        let sql = "delete from outbox where published_at < now() - make_interval(secs => $1)";
        Ok(sqlx::query(sql).bind(RETENTION.as_secs_f64()).execute(&self.pool).await?.rows_affected())
    }
}

/// A claimed row: id, routing key, body (none if it is too large), trace, time.
type Claimed = (Uuid, Option<String>, Option<String>, Option<String>, i32, DateTime<Utc>);

impl OutboxStore for PgOutbox {
    type Id = Uuid;

    async fn claim(&self, limit: u32) -> anyhow::Result<Vec<OutboxRow<Uuid>>> {
        let mut rows = sqlx::query_as::<_, Claimed>(
            "update outbox set lease_until = now() + make_interval(secs => $2)
             where id in (
                 select id from outbox
                 where published_at is null and (lease_until is null or lease_until <= now())
                 order by attempts, created_at limit $1 for update skip locked
             )
             returning id, message ->> 'type',
                       case when octet_length(message::text) <= $3 then message::text end,
                       traceparent, attempts, least(greatest(created_at, 'epoch'), now())",
        )
        .bind(i64::from(limit))
        .bind(CLAIM_LEASE.as_secs_f64())
        .bind(i32::try_from(MAX_BODY_BYTES).unwrap_or(i32::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.sort_by_key(|row| row.5);
        let convert = |(id, routing_key, body, traceparent, attempts, created_at): Claimed| OutboxRow {
            id,
            message_id: id.to_string(),
            routing_key,
            body: body.map(String::into_bytes),
            traceparent,
            attempts: attempts.unsigned_abs(),
            created_at,
        };
        Ok(rows.into_iter().map(convert).collect())
    }

    async fn mark_published(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        let sql = "update outbox set published_at = now() where id = any($1) and published_at is null";
        sqlx::query(sql).bind(ids).execute(&self.pool).await?;
        Ok(())
    }

    async fn release(&self, ids: &[Uuid]) -> anyhow::Result<()> {
        let sql = "update outbox set lease_until = null where id = any($1) and published_at is null";
        sqlx::query(sql).bind(ids).execute(&self.pool).await?;
        Ok(())
    }

    async fn postpone(&self, ids: &[Uuid], pause: Duration) -> anyhow::Result<()> {
        sqlx::query(
            "update outbox set attempts = attempts + 1, lease_until = now() + make_interval(secs => $2)
             where id = any($1) and published_at is null",
        )
        .bind(ids)
        .bind(pause.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn next_due(&self) -> anyhow::Result<Option<Duration>> {
        let sql = "select extract(epoch from min(coalesce(lease_until, now())) - now())::double precision
                   from outbox where published_at is null";
        let seconds: Option<f64> = sqlx::query_scalar(sql).fetch_one(&self.pool).await?;
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    }
}
