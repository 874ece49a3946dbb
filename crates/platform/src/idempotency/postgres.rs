//! Records in the table `idempotency_keys`, which each service with PostgreSQL creates by its own migration.
//!
//! The queries are checked when they run, not when they compile: this crate has no database of its own.

use axum::{body::to_bytes, response::IntoResponse};
use sqlx::{PgConnection, PgExecutor, PgPool, Row};
use uuid::Uuid;

use super::{Claim, IdempotencyStore, IdempotentRequest, LEASE, RETENTION, Scope, StoredAnswer};
use crate::{ApiError, ApiResult};

/// Records in PostgreSQL.
#[derive(Clone, Debug)]
pub struct PgIdempotency {
    pool: PgPool,
}

impl PgIdempotency {
    /// Records in the database of `pool`.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Deletes records past their retention; returns how many.
    pub async fn purge(&self) -> sqlx::Result<u64> {
        let sql = "delete from idempotency_keys where created_at < now() - make_interval(secs => $1)";
        Ok(sqlx::query(sql).bind(RETENTION.as_secs_f64()).execute(&self.pool).await?.rows_affected())
    }

    /// Replaces what the record of an operation holds of its request and answer by a refusal, in the transaction of
    /// `connection`. Every further request under the key gets the refusal, whatever its body; work in progress does not
    /// store its answer.
    pub async fn refuse(connection: &mut PgConnection, operation_id: Uuid, refusal: ApiError) -> sqlx::Result<()> {
        let (parts, body) = refusal.into_response().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let answer = StoredAnswer::new(parts.status, &parts.headers, &body);
        sqlx::query(
            "update idempotency_keys set fingerprint = '', lease_token = null, status = $2, headers = $3, body = $4
             where operation_id = $1",
        )
        .bind(operation_id)
        .bind(i16::try_from(answer.status).unwrap_or(500))
        .bind(answer.headers)
        .bind(answer.body)
        .execute(connection)
        .await
        .map(drop)
    }
}

impl IdempotencyStore for PgIdempotency {
    async fn claim(&self, scope: &Scope, token: Uuid) -> ApiResult<Claim> {
        // One statement decides the race; a conflict on a live or finished record returns no row.
        let claimed = sqlx::query(
            "insert into idempotency_keys as k
                 (user_id, method, path, key, fingerprint, operation_id, lease_token, lease_until)
             values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))
             on conflict (user_id, method, path, key) do update
                 set lease_token = excluded.lease_token, lease_until = excluded.lease_until
                 where k.status is null and k.fingerprint = excluded.fingerprint
                     and (k.lease_until < now() or k.lease_token = excluded.lease_token)
             returning operation_id",
        )
        .bind(scope.user_id)
        .bind(&scope.method)
        .bind(&scope.path)
        .bind(&scope.key)
        .bind(&scope.fingerprint)
        .bind(Uuid::new_v4())
        .bind(token)
        .bind(LEASE.as_secs_f64())
        .fetch_optional(&self.pool)
        .await?;
        if let Some(row) = claimed {
            return Ok(Claim::Acquired(row.try_get("operation_id")?));
        }
        let row = sqlx::query(
            "select fingerprint, status, headers, body from idempotency_keys
             where user_id = $1 and method = $2 and path = $3 and key = $4",
        )
        .bind(scope.user_id)
        .bind(&scope.method)
        .bind(&scope.path)
        .bind(&scope.key)
        .fetch_optional(&self.pool)
        .await?;
        // Purged in between: the next attempt creates it again.
        let Some(row) = row else { return Ok(Claim::InProgress) };
        let fingerprint: Vec<u8> = row.try_get("fingerprint")?;
        // Empty in a record that `refuse` has changed.
        if !fingerprint.is_empty() && fingerprint != scope.fingerprint {
            return Ok(Claim::KeyReused);
        }
        Ok(match row.try_get::<Option<i16>, _>("status")? {
            Some(status) => Claim::Completed(StoredAnswer {
                status: u16::try_from(status).unwrap_or(500),
                headers: row.try_get::<Option<Vec<String>>, _>("headers")?.unwrap_or_default(),
                body: row.try_get::<Option<Vec<u8>>, _>("body")?.unwrap_or_default(),
            }),
            None => Claim::InProgress,
        })
    }

    async fn renew(&self, scope: &Scope, token: Uuid) -> ApiResult<()> {
        sqlx::query(
            "update idempotency_keys set lease_until = now() + make_interval(secs => $6)
             where user_id = $1 and method = $2 and path = $3 and key = $4 and lease_token = $5 and status is null",
        )
        .bind(scope.user_id)
        .bind(&scope.method)
        .bind(&scope.path)
        .bind(&scope.key)
        .bind(token)
        .bind(LEASE.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn finish(&self, scope: &Scope, token: Uuid, answer: Option<&StoredAnswer>) -> ApiResult<()> {
        Ok(finish(&self.pool, scope, token, answer).await?)
    }
}

/// Stores an answer in the transaction of the work's last write.
pub async fn store_answer(
    connection: &mut PgConnection,
    request: &IdempotentRequest,
    answer: &StoredAnswer,
) -> sqlx::Result<()> {
    match request.scope() {
        Some(scope) => finish(connection, scope, request.token(), Some(answer)).await,
        None => Ok(()),
    }
}

async fn finish(
    executor: impl PgExecutor<'_>,
    scope: &Scope,
    token: Uuid,
    answer: Option<&StoredAnswer>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update idempotency_keys
             set status = $6, headers = $7, body = $8, lease_token = null, lease_until = now() - interval '1 second'
             where user_id = $1 and method = $2 and path = $3 and key = $4 and lease_token = $5 and status is null",
    )
    .bind(scope.user_id)
    .bind(&scope.method)
    .bind(&scope.path)
    .bind(&scope.key)
    .bind(token)
    .bind(answer.map(|a| i16::try_from(a.status).unwrap_or(500)))
    .bind(answer.map(|a| a.headers.as_slice()))
    .bind(answer.map(|a| a.body.as_slice()))
    .execute(executor)
    .await
    .map(drop)
}
