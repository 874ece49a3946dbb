//! Every query of this service, over one PostgreSQL database.
//!
//! [`Store`] answers single questions and makes single changes; [`Unit`] is a transaction in which several changes
//! commit together. Changes of state are compare-and-sets: they say whether they came about.
//!
//! - [`bookings`], [`payments`], [`refunds`]: one file a table
//! - [`outbox`]: messages to publish, and messages consumed
//! - [`reconciliation`]: what the reconciler compares, and what it found
//! - [`deletions`]: accounts that were deleted
//! - [`events`]: what changes many bookings at once; [`sales`]: what organizers ask

mod bookings;
mod deletions;
mod events;
mod outbox;
mod payments;
mod reconciliation;
mod refunds;
mod sales;

use sqlx::{PgPool, Postgres, Transaction};

pub use self::{
    deletions::UnfinishedDeletions,
    events::Holder,
    payments::{NewAttempt, Started, UnresolvedPayments},
    reconciliation::{PatrolLag, Round},
    sales::Keyless,
};
use crate::domain::{AttemptState, BookingStatus, CancelReason, PaymentStatus, RefundReason, RefundState};

/// How long a row is left to whoever claimed it, in seconds. Work on a row may go on longer: everything is a
/// compare-and-set, so a second worker changes nothing.
pub const LEASE_SECONDS: f64 = 15.0;
/// The longest pause between two looks at a row, in seconds.
const MAX_BACKOFF_SECONDS: f64 = 8.0;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
}

/// A transaction. Dropping it without [`Unit::commit`] undoes it.
#[derive(Debug)]
pub struct Unit {
    tx: Transaction<'static, Postgres>,
}

impl Store {
    /// Queries over that pool.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> sqlx::Result<Unit> {
        Ok(Unit { tx: self.pool.begin().await? })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), String> {
        platform::postgres::ping(&self.pool).await
    }
}

impl Unit {
    /// Makes everything in this transaction happen at once.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.tx.commit().await
    }
}

/// Reads states from their words.
macro_rules! stored_as_text {
    ($($name:ty),+) => {$(
        impl sqlx::Type<Postgres> for $name {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <&str as sqlx::Type<Postgres>>::type_info()
            }

            fn compatible(info: &sqlx::postgres::PgTypeInfo) -> bool {
                <&str as sqlx::Type<Postgres>>::compatible(info)
            }
        }

        impl<'r> sqlx::Decode<'r, Postgres> for $name {
            fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                let word = <&str as sqlx::Decode<Postgres>>::decode(value)?;
                Self::parse(word).ok_or_else(|| format!("unknown {}: {word}", stringify!($name)).into())
            }
        }
    )+};
}

stored_as_text!(AttemptState, BookingStatus, CancelReason, PaymentStatus, RefundReason, RefundState);
