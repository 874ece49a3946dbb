//! Queries of the table `idempotency_keys`. A key is claimed, used and finished in one transaction.

use sqlx::PgConnection;

use super::Store;
use crate::call::Origin;

/// An answer that was given before.
#[derive(Clone, Debug)]
pub(crate) struct StoredAnswer {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) request_id: String,
    pub(crate) status: i16,
    pub(crate) body: String,
}

/// Takes the key for this transaction; false when an earlier request finished with it. Waits for a transaction that
/// is at work under the same key, and fails when that takes too long.
pub(crate) async fn claim(conn: &mut PgConnection, key: &str, origin: &Origin) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "insert into idempotency_keys (key, fingerprint, request_id) values ($1, $2, $3) on conflict (key) do nothing",
        key,
        origin.fingerprint,
        origin.request_id
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The answer that was given under the key.
pub(crate) async fn find(conn: &mut PgConnection, key: &str) -> sqlx::Result<Option<StoredAnswer>> {
    sqlx::query_as!(
        StoredAnswer,
        r#"select fingerprint, request_id, status as "status!", body as "body!" from idempotency_keys
           where key = $1 and status is not null"#,
        key
    )
    .fetch_optional(conn)
    .await
}

/// Keeps the answer.
pub(crate) async fn finish(conn: &mut PgConnection, key: &str, status: i16, body: &str) -> sqlx::Result<()> {
    sqlx::query!("update idempotency_keys set status = $2, body = $3 where key = $1", key, status, body)
        .execute(conn)
        .await
        .map(drop)
}

impl Store {
    /// Forgets keys that are older than a day, as Stripe does.
    pub(crate) async fn purge_idempotency_keys(&self) -> sqlx::Result<u64> {
        let sql = sqlx::query!("delete from idempotency_keys where created_at < now() - interval '24 hours'");
        Ok(sql.execute(&self.pool).await?.rows_affected())
    }
}
