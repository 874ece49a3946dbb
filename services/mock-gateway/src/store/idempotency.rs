//! Queries of the table `idempotency_keys`. A key is claimed, used and finished in one transaction.

use sqlx::PgConnection;

use super::Store;

/// The stored response to an earlier request.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    pub fingerprint: Vec<u8>,
    pub request_id: String,
    pub status: i16,
    pub body: String,
}

/// Claims the key for this transaction. False if an earlier request has finished with it. Waits for a concurrent
/// transaction with the same key, and fails with a lock timeout if that takes too long.
pub async fn claim(conn: &mut PgConnection, key: &str, fingerprint: &[u8], request_id: &str) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "insert into idempotency_keys (key, fingerprint, request_id) values ($1, $2, $3) on conflict (key) do nothing",
        key,
        fingerprint,
        request_id
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

pub async fn find(conn: &mut PgConnection, key: &str) -> sqlx::Result<Option<StoredResponse>> {
    sqlx::query_as!(
        StoredResponse,
        r#"select fingerprint, request_id, status as "status!", body as "body!" from idempotency_keys
           where key = $1 and status is not null"#,
        key
    )
    .fetch_optional(conn)
    .await
}

/// Stores the response under a claimed key.
pub async fn finish(conn: &mut PgConnection, key: &str, status: i16, body: &str) -> sqlx::Result<()> {
    sqlx::query!("update idempotency_keys set status = $2, body = $3 where key = $1", key, status, body)
        .execute(conn)
        .await
        .map(drop)
}

impl Store {
    /// Deletes keys that are older than a day, as Stripe does.
    pub async fn purge_idempotency_keys(&self) -> sqlx::Result<u64> {
        let sql = sqlx::query!("delete from idempotency_keys where created_at < now() - interval '24 hours'");
        Ok(sql.execute(&self.pool).await?.rows_affected())
    }
}
