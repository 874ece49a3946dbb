//! Every query of this service, on one PostgreSQL database.
//!
//! [`Store`] runs single statements; [`UnitOfWork`] is a transaction in which several changes commit together. State
//! changes are compare-and-sets, which return whether they took effect.
//!
//! - [`sagas`]: a booking with its attempt and its refund
//! - [`bookings`], [`payments`], [`refunds`]: one file per table
//! - [`outbox`]: messages to publish and consumed messages
//! - [`reconciliation`]: what the reconciler compares, and its findings
//! - [`deletions`]: deleted accounts; [`gauges`]: what the gauges show
//! - [`tickets`], [`door_links`]: what is checked at the door, and who may check it
//! - [`events`]: changes of all bookings of an event; [`sales`]: attendees and sales for organizers

mod bookings;
mod deletions;
mod door_links;
mod events;
mod gauges;
mod outbox;
mod payments;
mod reconciliation;
mod refunds;
mod sagas;
mod sales;
mod tickets;

use platform::{
    idempotency::{self, IdempotentRequest, StoredAnswer},
    outbox::{Handoff, OutboxRow},
};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

pub use self::{
    events::Holder,
    gauges::Measurements,
    reconciliation::{PageClaim, ScanPage},
    sagas::{ClaimedSaga, NewAttempt, NextDue},
    sales::UnindexedAttendee,
    tickets::{Attendance, CheckIn},
};
use crate::domain::{AttemptState, BookingStatus, CancelReason, PaymentStatus, RefundReason, RefundState, TicketState};

/// Lease of a claimed row, in seconds. Work on a row may take longer: every change is a compare-and-set, so a second
/// worker changes nothing.
pub const LEASE_SECONDS: f64 = 15.0;
/// The longest pause before a row is claimed again, in seconds.
const MAX_BACKOFF_SECONDS: f64 = 8.0;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    relay: Handoff<Uuid>,
}

/// A transaction. Dropping it without [`UnitOfWork::commit`] rolls it back.
#[derive(Debug)]
pub struct UnitOfWork {
    tx: Transaction<'static, Postgres>,
    relay: Handoff<Uuid>,
    /// Rows of the outbox that were written.
    enqueued: Vec<OutboxRow<Uuid>>,
}

impl Store {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, relay: Handoff::default() }
    }

    pub async fn begin(&self) -> sqlx::Result<UnitOfWork> {
        let (tx, relay) = (self.pool.begin().await?, self.relay.clone());
        Ok(UnitOfWork { tx, relay, enqueued: Vec::new() })
    }

    /// What the relay publishes.
    pub fn handoff(&self) -> &Handoff<Uuid> {
        &self.relay
    }

    pub async fn ping(&self) -> Result<(), String> {
        platform::postgres::ping(&self.pool).await
    }
}

impl UnitOfWork {
    /// Commits, and gives the messages to the relay.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.tx.commit().await?;
        self.relay.send(self.enqueued);
        Ok(())
    }

    /// Stores the answer to the request; must be its last write.
    pub async fn store_answer(&mut self, request: &IdempotentRequest, answer: &StoredAnswer) -> sqlx::Result<()> {
        idempotency::store_answer(&mut self.tx, request, answer).await
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

stored_as_text!(AttemptState, BookingStatus, CancelReason, PaymentStatus, RefundReason, RefundState, TicketState);
