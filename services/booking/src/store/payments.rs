//! Queries of the table `payments`.

use uuid::Uuid;

use super::Store;
use crate::domain::{AttemptState, Payment, RefundReason, payment::FAILED_BEFORE_CHARGE};

/// A query that returns attempts: the rest of a `select` from `payments p`.
macro_rules! payments {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Payment,
            r#"select p.id, p.booking_id, p.gateway_key, p.gateway_id, p.payment_method,
                      p.state as "state: AttemptState", p.failure_code, p.failure_message, p.amount, p.currency,
                      p.settled_at,
                      (select reason from refunds where payment_id = p.id) as "refund_reason: RefundReason"
               from payments p "#
                + $rest
            $(, $argument)*
        )
    };
}

impl Store {
    pub async fn find_payment(&self, id: i32) -> sqlx::Result<Option<Payment>> {
        payments!("where p.id = $1", id).fetch_optional(&self.pool).await
    }

    /// The attempt that an operation inserted, unless it failed before anything could be charged.
    pub async fn find_attempt_by_operation(&self, operation_id: Uuid) -> sqlx::Result<Option<Payment>> {
        payments!(
            "where p.operation_id = $1 and p.failure_code is distinct from $2",
            operation_id,
            FAILED_BEFORE_CHARGE
        )
        .fetch_optional(&self.pool)
        .await
    }

    pub async fn find_user_payment(&self, user_id: i32, id: i32) -> sqlx::Result<Option<Payment>> {
        payments!(
            "where p.id = $1 and exists (select from bookings b where b.id = p.booking_id and b.user_id = $2)",
            id,
            user_id
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Makes the attempt and the refund of a charge due at once; returns whether a sweeper can continue one of them.
    /// Leases are kept: who has one is at work on it.
    pub async fn schedule_charge_check(&self, gateway_id: &str) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"with paid as (
                   update payments set next_check_at = now(), checks = 0
                   where gateway_id = $1 and (state = 'started' or (state = 'succeeded' and settled_at is null))
                   returning lease_until
               ), refunded as (
                   update refunds r set next_check_at = now(), checks = 0
                   from payments p
                   where p.gateway_id = $1 and r.payment_id = p.id and r.state = 'pending'
                   returning r.lease_until
               )
               select coalesce(bool_or(lease_until is null or lease_until <= now()), false) as "free!"
               from (select lease_until from paid union all select lease_until from refunded) as scheduled"#,
            gateway_id,
        )
        .fetch_one(&self.pool)
        .await
    }
}
