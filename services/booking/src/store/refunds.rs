//! Queries of the table `refunds`.

use std::time::Duration;

use super::{Store, UnitOfWork};
use crate::domain::{Refund, RefundReason, RefundState};

/// A query that returns refunds: `$before`, the columns, `$after`.
macro_rules! refunds {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Refund,
            $before
                + r#" id, payment_id, booking_id, amount, state as "state: RefundState", gateway_refund_id,
                      key_version "#
                + $after
            $(, $argument)*
        )
    };
}

impl Store {
    /// The refunds of these bookings, at most one each.
    pub async fn list_refunds(&self, booking_ids: &[i32]) -> sqlx::Result<Vec<Refund>> {
        refunds!("select", "from refunds where booking_id = any($1)", booking_ids).fetch_all(&self.pool).await
    }

    /// Stores the gateway's id of a refund that is pending there.
    pub async fn attach_refund_id(&self, id: i32, gateway_refund_id: &str) -> sqlx::Result<()> {
        sqlx::query!(
            "update refunds set gateway_refund_id = $2, updated_at = now() where id = $1 and state = 'pending'",
            id,
            gateway_refund_id,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Makes the next attempt use a new idempotency key, after the gateway reported a failure.
    pub async fn renew_refund_key(&self, refund: &Refund) -> sqlx::Result<()> {
        sqlx::query!(
            "update refunds set key_version = $2 + 1, gateway_refund_id = null, updated_at = now()
             where id = $1 and key_version = $2 and state = 'pending'",
            refund.id,
            refund.key_version,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

impl UnitOfWork {
    /// Orders the refund of an attempt, leased to the caller for `lease`. Returns an earlier order if there is one.
    /// [`Self::cancel_event_bookings`] orders those of a cancelled event itself, all at once.
    pub async fn order_refund(
        &mut self,
        payment_id: i32,
        reason: RefundReason,
        lease: Option<Duration>,
    ) -> sqlx::Result<Refund> {
        sqlx::query!(
            "insert into refunds (payment_id, booking_id, amount, currency, reason, lease_until)
             select id, booking_id, amount, currency, $2, now() + make_interval(secs => $3)
             from payments where id = $1
             on conflict (payment_id) do nothing",
            payment_id,
            reason.into_str(),
            lease.map(|lease| lease.as_secs_f64()),
        )
        .execute(&mut *self.tx)
        .await?;
        refunds!("select", "from refunds where payment_id = $1", payment_id).fetch_one(&mut *self.tx).await
    }

    /// Stores that a refund succeeded, and that its attempt is refunded. False if that was stored before.
    pub async fn finish_refund(&mut self, refund: &Refund, gateway_refund_id: Option<&str>) -> sqlx::Result<bool> {
        let result = sqlx::query!(
            "update refunds set
                 state = 'succeeded', gateway_refund_id = coalesce($2, gateway_refund_id), lease_until = null,
                 updated_at = now()
             where id = $1 and state = 'pending'",
            refund.id,
            gateway_refund_id,
        )
        .execute(&mut *self.tx)
        .await?;
        if result.rows_affected() == 0 {
            return Ok(false);
        }
        let result = sqlx::query!(
            "update payments set state = 'refunded', updated_at = now() where id = $1 and state = 'succeeded'",
            refund.payment_id,
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(result.rows_affected() == 1)
    }
}
