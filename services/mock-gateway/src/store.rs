//! Every query, over the database that all replicas share.
//!
//! - [`intents`]: payment intents; [`money`]: charges, refunds and the ledger
//! - [`events`]: webhooks on their way; [`idempotency`]: answers kept; [`faults`]: ordered misbehaviour

pub(crate) mod events;
pub(crate) mod faults;
pub(crate) mod idempotency;
pub(crate) mod intents;
pub(crate) mod money;

use sqlx::{PgPool, Postgres, Transaction};

/// The database; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: PgPool,
}

impl Store {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// A transaction whose statements wait at most 4 s for another one's locks, well within a caller's patience.
    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut tx = self.pool.begin().await?;
        sqlx::query!("select set_config('lock_timeout', '4s', true)").fetch_one(&mut *tx).await?;
        Ok(tx)
    }
}
