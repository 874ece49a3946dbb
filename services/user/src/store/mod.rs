//! Every query, over one pool.
//!
//! Whatever is stored goes by the database's clock, so that replicas whose clocks differ agree.
//!
//! - [`users`]: people; [`sessions`]: sessions and their refresh tokens
//! - [`login_failures`]: the counters that slow guessing down; [`password_resets`]: reset tokens

mod login_failures;
mod password_resets;
mod sessions;
mod users;

use std::time::Duration;

use sqlx::PgPool;

pub use self::{
    login_failures::{FailureKey, FailureLimit},
    sessions::{NewSession, Rotation},
    users::{Credentials, ProfileChange, StatusFilter, User, UserChange},
};
use crate::domain::REUSE_GRACE;

/// How long what is over is kept, for those who look into an incident.
const KEEP_FINISHED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The database of user-service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// The database of `pool`.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Its connections.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Removes what nobody needs any more: old sessions, rotated tokens past `refresh_token_days`, used and expired
    /// resets, and windows that have ended. Returns how many rows.
    pub async fn purge(&self, refresh_token_days: u32) -> sqlx::Result<u64> {
        let keep = KEEP_FINISHED.as_secs_f64();
        let tokens = f64::from(refresh_token_days) * 86_400.0 + REUSE_GRACE.as_secs_f64();
        let sessions = sqlx::query!(
            "delete from sessions
             where expires_at < now() - make_interval(secs => $1) or revoked_at < now() - make_interval(secs => $1)",
            keep
        );
        let rotated =
            sqlx::query!("delete from refresh_tokens where rotated_at < now() - make_interval(secs => $1)", tokens);
        let resets = sqlx::query!(
            "delete from password_resets
             where expires_at < now() - make_interval(secs => $1) or used_at < now() - make_interval(secs => $1)",
            keep
        );
        let failures = sqlx::query!("delete from login_failures where window_ends_at < now()");
        let mut rows = sessions.execute(&self.pool).await?.rows_affected();
        rows += rotated.execute(&self.pool).await?.rows_affected();
        rows += resets.execute(&self.pool).await?.rows_affected();
        rows += failures.execute(&self.pool).await?.rows_affected();
        Ok(rows)
    }
}
