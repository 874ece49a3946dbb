//! Table `password_resets`: reset tokens, which admins hand out.

use chrono::{DateTime, Utc};

use super::Store;
use crate::domain::{RateLimit, session::RESET_LIFETIME};

impl Store {
    /// Replaces the user's earlier reset tokens; returns the expiry. `None` if there is no such user.
    pub async fn insert_reset(&self, user_id: i32, token_hash: &[u8]) -> sqlx::Result<Option<DateTime<Utc>>> {
        let expires_at = sqlx::query_scalar!(
            // The lock serializes this with the deletion of the account.
            "with earlier as (
                 delete from password_resets where user_id = $1 and used_at is null
             ), account as (
                 select id from users where id = $1 and deleted_at is null for key share
             )
             insert into password_resets (token_hash, user_id, expires_at)
             select $2, id, now() + make_interval(secs => $3) from account
             returning expires_at",
            user_id,
            token_hash,
            RESET_LIFETIME.as_secs_f64(),
        );
        expires_at.fetch_optional(&self.pool).await
    }

    /// The address of the token's user, while the token can be used.
    pub async fn find_reset_email(&self, token_hash: &[u8]) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar!(
            "select u.email from password_resets r join users u on u.id = r.user_id
             where r.token_hash = $1 and r.used_at is null and r.expires_at > now()",
            token_hash
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Sets the password, ends every session and resets `limits`. False if the token can no longer be used.
    pub async fn use_reset(&self, token_hash: &[u8], password: &str, limits: &[RateLimit]) -> sqlx::Result<bool> {
        let mut transaction = self.pool.begin().await?;
        let user_id = sqlx::query_scalar!(
            "update password_resets set used_at = now()
             where token_hash = $1 and used_at is null and expires_at > now()
             returning user_id",
            token_hash
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(user_id) = user_id else { return Ok(false) };
        sqlx::query!("update users set password_hash = $2 where id = $1", user_id, password)
            .execute(&mut *transaction)
            .await?;
        sqlx::query!("update sessions set revoked_at = now() where user_id = $1 and revoked_at is null", user_id)
            .execute(&mut *transaction)
            .await?;
        let keys: Vec<Vec<u8>> = limits.iter().map(|limit| limit.key.clone()).collect();
        sqlx::query!("delete from rate_limits where key = any($1)", &keys).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }
}
