//! Every query of this service, on one PostgreSQL database.
//!
//! [`Store`] runs single statements; [`UnitOfWork`] is a transaction in which several changes commit together. State
//! changes are compare-and-sets, which return whether they took effect.
//!
//! - [`bookings`], [`payments`], [`refunds`]: one file per table
//! - [`outbox`]: messages to publish and consumed messages
//! - [`reconciliation`]: what the reconciler compares, and its findings
//! - [`deletions`]: deleted accounts
//! - [`events`]: changes of all bookings of an event; [`sales`]: attendees and sales for organizers

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
    payments::{NewAttempt, UnresolvedPayments},
    reconciliation::ReconcileRun,
    sales::UnindexedAttendee,
};
use crate::domain::{AttemptState, BookingStatus, CancelReason, PaymentStatus, RefundReason, RefundState};

/// Lease of a claimed row, in seconds. Work on a row may take longer: every change is a compare-and-set, so a second
/// worker changes nothing.
pub const LEASE_SECONDS: f64 = 15.0;
/// The longest pause before a row is claimed again, in seconds.
const MAX_BACKOFF_SECONDS: f64 = 8.0;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
}

/// A transaction. Dropping it without [`UnitOfWork::commit`] rolls it back.
#[derive(Debug)]
pub struct UnitOfWork {
    tx: Transaction<'static, Postgres>,
}

impl Store {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    pub async fn begin(&self) -> sqlx::Result<UnitOfWork> {
        Ok(UnitOfWork { tx: self.pool.begin().await? })
    }

    pub async fn ping(&self) -> Result<(), String> {
        platform::postgres::ping(&self.pool).await
    }
}

impl UnitOfWork {
    pub async fn commit(self) -> sqlx::Result<()> {
        self.tx.commit().await
    }
}

/// Decodes states from their texts.
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
                let text = <&str as sqlx::Decode<Postgres>>::decode(value)?;
                text.parse().map_err(|_| format!("unknown {}: {text}", stringify!($name)).into())
            }
        }
    )+};
}

stored_as_text!(AttemptState, BookingStatus, CancelReason, PaymentStatus, RefundReason, RefundState);
