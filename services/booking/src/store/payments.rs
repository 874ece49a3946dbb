//! Queries of the table `payments`.

use uuid::Uuid;

use super::{LEASE_SECONDS, MAX_BACKOFF_SECONDS, Store, UnitOfWork, bookings::bookings};
use crate::domain::{
    AttemptState, Booking, BookingStatus, CancelReason, Payment, PaymentStatus, RefundReason, RefundState,
    payment::FAILED_BEFORE_CHARGE,
};

#[derive(Clone, Copy, Debug)]
pub struct NewAttempt<'a> {
    pub booking_id: i32,
    /// Identifies the request.
    pub operation_id: Uuid,
    /// The gateway's token of the payment method.
    pub payment_method: &'a str,
    /// Minor units of `currency`.
    pub amount: i64,
    /// ISO 4217.
    pub currency: &'a str,
}

/// Attempts that are undecided, or charged and not settled.
#[derive(Clone, Copy, Debug)]
pub struct UnresolvedPayments {
    pub count: i64,
    /// Age of the oldest, in seconds; 0 if there is none.
    pub oldest_seconds: f64,
}

/// A query that returns attempts: the rest of a `select` from `payments p`.
macro_rules! payments {
    ($rest:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Payment,
            r#"select p.id, p.booking_id, p.gateway_key, p.gateway_id, p.payment_method,
                      p.state as "state: AttemptState", p.failure_code, p.failure_message, p.amount, p.currency,
                      p.settled_at,
                      (select state from refunds where payment_id = p.id) as "refund_state: RefundState",
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

    /// The attempt and its booking from one snapshot, so that they are consistent with each other.
    pub async fn find_payment_and_booking(&self, id: i32) -> sqlx::Result<Option<(Payment, Booking)>> {
        let mut snapshot = self.pool.begin_with("begin isolation level repeatable read, read only").await?;
        let payment = payments!("where p.id = $1", id).fetch_optional(&mut *snapshot).await?;
        let Some(payment) = payment else { return Ok(None) };
        let booking = bookings!("select", "from bookings where id = $1", payment.booking_id);
        let booking = booking.fetch_one(&mut *snapshot).await?;
        snapshot.rollback().await?;
        Ok(Some((payment, booking)))
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

    /// Stores the charge id of a started attempt, and renews its lease. False if the attempt has ended or has another
    /// charge: then this charge must not be confirmed.
    pub async fn attach_charge_id(&self, id: i32, gateway_id: &str) -> sqlx::Result<bool> {
        let result = sqlx::query!(
            "update payments set
                 gateway_id = $2, lease_until = now() + make_interval(secs => $3), updated_at = now()
             where id = $1 and state = 'started' and (gateway_id is null or gateway_id = $2)",
            id,
            gateway_id,
            LEASE_SECONDS,
        )
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected() == 1)
    }

    /// Stores that a started attempt was charged. True if it has succeeded by now, whoever stored it.
    pub async fn store_charged(&self, id: i32) -> sqlx::Result<bool> {
        let result = sqlx::query!(
            "update payments set
                 state = 'succeeded', lease_until = now() + make_interval(secs => $2), next_check_at = now(),
                 checks = 0, updated_at = now()
             where id = $1 and state = 'started'",
            id,
            LEASE_SECONDS,
        )
        .execute(&self.pool)
        .await?;
        if result.rows_affected() == 1 {
            return Ok(true);
        }
        let state = self.find_payment(id).await?.map(|payment| payment.state);
        Ok(matches!(state, Some(AttemptState::Succeeded | AttemptState::Refunded)))
    }

    /// Stores that a started attempt failed, and the payment status of its booking. With `without_charge`, only if it has
    /// no charge id. False if the attempt is in another state.
    pub async fn store_failed(&self, id: i32, code: &str, message: &str, without_charge: bool) -> sqlx::Result<bool> {
        let mut tx = self.pool.begin().await?;
        let booking_id = sqlx::query_scalar!(
            "update payments set
                 state = 'failed', failure_code = $2, failure_message = $3, lease_until = null, updated_at = now()
             where id = $1 and state = 'started' and (not $4 or gateway_id is null)
             returning booking_id",
            id,
            code,
            message,
            without_charge,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(booking_id) = booking_id else { return Ok(false) };
        sqlx::query!(
            "update bookings set payment_status = 'Failed', updated_at = now()
             where id = $1 and payment_status = 'Unpaid'",
            booking_id,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Claims up to `limit` attempts that are due for a sweeper: undecided, or charged and not settled.
    pub async fn claim_payments(&self, limit: i64) -> sqlx::Result<Vec<Payment>> {
        let ids = sqlx::query_scalar!(
            "update payments set lease_until = now() + make_interval(secs => $2), checks = checks + 1
             where id in (
                 select id from payments
                 where (state = 'started' or (state = 'succeeded' and settled_at is null))
                     and next_check_at <= now() and (lease_until is null or lease_until <= now())
                 order by next_check_at limit $1 for update skip locked
             )
             returning id",
            limit,
            LEASE_SECONDS,
        )
        .fetch_all(&self.pool)
        .await?;
        payments!("where p.id = any($1)", &ids).fetch_all(&self.pool).await
    }

    /// Ends the lease and makes the attempt due again later, with exponential backoff.
    pub async fn postpone_payment(&self, id: i32) -> sqlx::Result<()> {
        sqlx::query!(
            "update payments set
                 lease_until = null,
                 next_check_at = now() + make_interval(secs => least($2, 0.5 * power(2, least(checks, 6))))
             where id = $1",
            id,
            MAX_BACKOFF_SECONDS,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Makes the attempt and the refund of a charge due at once. Leases are kept.
    pub async fn schedule_charge_check(&self, gateway_id: &str) -> sqlx::Result<()> {
        sqlx::query!(
            "with paid as (
                 update payments set next_check_at = now(), checks = 0
                 where gateway_id = $1 and (state = 'started' or (state = 'succeeded' and settled_at is null))
             )
             update refunds r set next_check_at = now(), checks = 0
             from payments p
             where p.gateway_id = $1 and r.payment_id = p.id and r.state = 'pending'",
            gateway_id,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn count_unresolved_payments(&self) -> sqlx::Result<UnresolvedPayments> {
        sqlx::query_as!(
            UnresolvedPayments,
            r#"select count(*) as "count!",
                      coalesce(extract(epoch from now() - min(created_at)), 0)::double precision as "oldest_seconds!"
               from payments where state = 'started' or (state = 'succeeded' and settled_at is null)"#
        )
        .fetch_one(&self.pool)
        .await
    }
}

impl UnitOfWork {
    /// The attempt that this operation inserted before, unless it failed before anything could be charged.
    pub async fn find_attempt_by_operation(&mut self, operation_id: Uuid) -> sqlx::Result<Option<Payment>> {
        payments!(
            "where p.operation_id = $1 and p.failure_code is distinct from $2",
            operation_id,
            FAILED_BEFORE_CHARGE
        )
        .fetch_optional(&mut *self.tx)
        .await
    }

    /// The booking's unresolved or captured attempt.
    pub async fn find_active_attempt(&mut self, booking_id: i32) -> sqlx::Result<Option<Payment>> {
        payments!("where p.booking_id = $1 and p.state in ('started', 'succeeded')", booking_id)
            .fetch_optional(&mut *self.tx)
            .await
    }

    /// Inserts an attempt, leased to the caller. `None` if the booking has an unresolved or captured attempt; a unique index
    /// decides races.
    pub async fn insert_attempt(&mut self, new: NewAttempt<'_>) -> sqlx::Result<Option<Payment>> {
        let inserted = sqlx::query_scalar!(
            "insert into payments
                 (booking_id, operation_id, gateway_key, payment_method, amount, currency, lease_until)
             values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))
             on conflict do nothing
             returning id",
            new.booking_id,
            new.operation_id,
            Uuid::new_v4(),
            new.payment_method,
            new.amount,
            new.currency,
            LEASE_SECONDS,
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(id) = inserted else { return Ok(None) };
        payments!("where p.id = $1", id).fetch_one(&mut *self.tx).await.map(Some)
    }

    /// Stores that the captured money was applied to the booking. False if it was before.
    pub async fn settle_payment(&mut self, id: i32) -> sqlx::Result<bool> {
        let result = sqlx::query!(
            "update payments set settled_at = now(), lease_until = null, updated_at = now()
             where id = $1 and state = 'succeeded' and settled_at is null",
            id,
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(result.rows_affected() == 1)
    }
}
