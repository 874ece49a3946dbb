//! Every query, over one pool. Stored times come from the database's clock, so that all replicas agree.
//!
//! - [`users`]; [`deletion`]: deletion of an account; [`sessions`]: sessions and refresh tokens
//! - [`password_resets`]: reset tokens; [`revocations`]: ended sessions and changed roles
//! - [`rate_limits`]: counters of every limit; [`known_clients`]: clients that users have logged in from

mod deletion;
mod known_clients;
mod password_resets;
mod rate_limits;
mod revocations;
mod sessions;
mod users;

use std::{sync::Arc, time::Duration};

use contracts::identity::RevocationList;
use platform::{outbox::postgres::PgOutbox, postgres};
use sqlx::PgPool;

use self::revocations::SharedRead;
pub use self::{
    deletion::{AccountDeletion, DeletionOutcome},
    sessions::{NewSession, Rotation},
};
use crate::domain::session::REUSE_GRACE;

/// How long ended sessions and used resets are kept, for the investigation of incidents.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    revocations: Arc<SharedRead<RevocationList>>,
}

impl Store {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, revocations: Arc::default() }
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub fn outbox(&self) -> PgOutbox {
        PgOutbox::new(self.pool.clone())
    }

    pub async fn ping(&self) -> Result<(), String> {
        postgres::ping(&self.pool).await
    }

    /// Deletes old sessions, tokens rotated more than `refresh_token_days` ago, used and expired resets, ended windows of
    /// limits, and clients not seen for long. Returns the number of rows.
    pub async fn purge(&self, refresh_token_days: u32) -> sqlx::Result<u64> {
        let retention = RETENTION.as_secs_f64();
        let tokens = f64::from(refresh_token_days) * 86_400.0 + REUSE_GRACE.as_secs_f64();
        let sessions = sqlx::query!(
            "delete from sessions
             where expires_at < now() - make_interval(secs => $1) or revoked_at < now() - make_interval(secs => $1)",
            retention
        );
        let rotated =
            sqlx::query!("delete from refresh_tokens where rotated_at < now() - make_interval(secs => $1)", tokens);
        let resets = sqlx::query!(
            "delete from password_resets
             where expires_at < now() - make_interval(secs => $1) or used_at < now() - make_interval(secs => $1)",
            retention
        );
        // Replicas of the previous version still write these.
        let failures = sqlx::query!("delete from login_failures where window_ends_at < now()");
        let limits = sqlx::query!("delete from rate_limits where window_ends_at < now()");
        let clients = sqlx::query!(
            "delete from known_clients where last_seen_at < now() - make_interval(secs => $1)",
            known_clients::REMEMBERED.as_secs_f64()
        );
        let mut rows = sessions.execute(&self.pool).await?.rows_affected();
        rows += rotated.execute(&self.pool).await?.rows_affected();
        rows += resets.execute(&self.pool).await?.rows_affected();
        rows += failures.execute(&self.pool).await?.rows_affected();
        rows += limits.execute(&self.pool).await?.rows_affected();
        rows += clients.execute(&self.pool).await?.rows_affected();
        Ok(rows)
    }
}
