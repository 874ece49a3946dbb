//! Every query, over one pool.
//!
//! Whatever is stored goes by the database's clock, so that replicas whose clocks differ agree.
//!
//! - [`users`]: people; [`deletion`]: the deletion of an account; [`sessions`]: sessions and their refresh tokens
//! - [`password_resets`]: reset tokens; [`revocations`]: ended sessions and changed roles
//! - [`rate_limits`]: the counters of every limit; [`known_clients`]: where people logged in from

mod deletion;
mod known_clients;
mod password_resets;
mod rate_limits;
mod revocations;
mod sessions;
mod users;

use std::{sync::Arc, time::Duration};

use contracts::identity::RevocationList;
use platform::outbox::postgres::PgOutbox;
use sqlx::PgPool;

use self::revocations::SharedReading;
pub use self::{
    deletion::{DeletedAccount, Deletion},
    known_clients::{Acquaintance, ClientKeys},
    rate_limits::RateLimit,
    sessions::{NewSession, Rotation, Session},
    users::{AdminChange, Credentials, ProfileChange, StatusFilter, User, UserChange},
};
use crate::domain::REUSE_GRACE;

/// How long what is over is kept, for those who look into an incident.
const KEEP_FINISHED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The database of user-service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    revocations: Arc<SharedReading<RevocationList>>,
}

impl Store {
    /// The database of `pool`.
    pub fn new(pool: PgPool) -> Self {
        Self { pool, revocations: Arc::default() }
    }

    /// Its connections.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The messages that are to be published.
    pub fn outbox(&self) -> PgOutbox {
        PgOutbox::new(self.pool.clone())
    }

    /// Removes what nobody needs any more: old sessions, rotated tokens past `refresh_token_days`, used and expired
    /// resets, windows that have ended, and clients that have not been seen for long. Returns how many rows.
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
