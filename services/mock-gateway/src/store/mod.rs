//! Every query, over the database that all replicas share.
//!
//! - [`intents`]: payment intents; [`money`]: charges, refunds and the ledger
//! - [`events`]: the outbox of webhooks; [`idempotency`]: stored responses; [`faults`]: rules of fault injection

pub mod events;
pub mod faults;
pub mod idempotency;
pub mod intents;
pub mod money;

use rand::distr::{Alphanumeric, SampleString};
use sqlx::{PgPool, Postgres, Transaction, error::DatabaseError};

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// Statements wait at most 4 s for locks of others, which is shorter than the timeouts of callers.
    pub fn new(pool: PgPool) -> Self {
        pool.set_connect_options(pool.connect_options().as_ref().clone().options([("lock_timeout", "4s")]));
        Self { pool }
    }

    pub async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.pool.begin().await
    }
}

/// Whether a statement waited too long for the lock of another transaction.
pub fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "55P03")
}

/// A new id such as `pi_…`, in the shape of Stripe's.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", Alphanumeric.sample_string(&mut rand::rng(), 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_stripes_shape_and_differ() {
        let (one, other) = (new_id("pi"), new_id("pi"));

        assert!(one.starts_with("pi_") && one.len() == 27, "{one}");
        assert_ne!(one, other);
    }
}
