//! Sessions, and lifetimes of tokens.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Within this time after its rotation, a refresh token is exchanged for the same successor again: two tabs may send
/// it, or the answer was lost.
pub const REUSE_GRACE: Duration = Duration::from_secs(30);
/// How long a reset token can be used (docs/decisions/0006-no-mail.md).
pub const RESET_LIFETIME: Duration = Duration::from_secs(3600);

/// A session that has not ended.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its access tokens carry it.
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    /// When it began or was last refreshed.
    pub last_used_at: DateTime<Utc>,
    pub user_agent: Option<String>,
}
