//! Queries of the table `idempotency_keys`. A response is stored in the transaction that did the work.

use sqlx::PgConnection;

use super::Store;

/// The response to a request with a key.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    pub fingerprint: Vec<u8>,
    pub request_id: String,
    pub status: i16,
    pub body: String,
}

/// Stores the response under its key. False if there is one already. Waits for a concurrent transaction with the same
/// key, and fails with a lock timeout if that takes too long.
pub async fn insert(conn: &mut PgConnection, key: &str, response: &StoredResponse) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "insert into idempotency_keys (key, fingerprint, request_id, status, body) values ($1, $2, $3, $4, $5)
         on conflict (key) do nothing",
        key,
        response.fingerprint,
        response.request_id,
        response.status,
        response.body
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

impl Store {
    pub async fn find_response(&self, key: &str) -> sqlx::Result<Option<StoredResponse>> {
        sqlx::query_as!(
            StoredResponse,
            r#"select fingerprint, request_id, status as "status!", body as "body!" from idempotency_keys
               where key = $1 and status is not null"#,
            key
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Deletes keys that are older than a day, as Stripe does.
    pub async fn purge_idempotency_keys(&self) -> sqlx::Result<u64> {
        let sql = sqlx::query!("delete from idempotency_keys where created_at < now() - interval '24 hours'");
        Ok(sql.execute(&self.pool).await?.rows_affected())
    }
}
