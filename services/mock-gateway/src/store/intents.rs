//! Queries of the table `payment_intents`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{
    Decode, PgConnection, Postgres, Type,
    error::BoxDynError,
    postgres::{PgTypeInfo, PgValueRef},
};

use super::{Store, new_id};
use crate::domain::{
    fault::FaultTarget,
    intent::{IntentStatus, NewPaymentIntent, PaymentIntent},
};

/// A query that returns payment intents: what precedes their columns, what follows, and the arguments.
macro_rules! intents {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            PaymentIntent,
            $before
                + r#" id, amount, currency, status as "status: IntentStatus", payment_method, payment_method_types,
                      automatic_payment_methods, capture_method, description, receipt_email, metadata, booking_id,
                      client_secret, amount_received, latest_charge, last_payment_error, canceled_at,
                      cancellation_reason, created_at "#
                + $after
            $(, $argument)*
        )
    };
}

impl Type<Postgres> for IntentStatus {
    fn type_info() -> PgTypeInfo {
        <&str as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for IntentStatus {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(<&str as Decode<Postgres>>::decode(value)?.parse()?)
    }
}

/// The requested part of a list.
#[derive(Clone, Debug)]
pub struct ListWindow {
    pub limit: i64,
    pub starting_after: Option<String>,
    pub created_from: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
}

impl Store {
    pub async fn find_intent(&self, id: &str) -> sqlx::Result<Option<PaymentIntent>> {
        intents!("select", "from payment_intents where id = $1", id).fetch_optional(&self.pool).await
    }

    /// Newest first, as Stripe lists them. Returns one more than the limit if there are more.
    pub async fn list_intents(&self, window: &ListWindow) -> sqlx::Result<Vec<PaymentIntent>> {
        intents!(
            "select",
            "from payment_intents
             where ($2::text is null or seq < (select seq from payment_intents where id = $2))
               and ($3::timestamptz is null or created_at >= $3)
               and ($4::timestamptz is null or created_at < $4)
             order by seq desc limit $1::bigint + 1",
            window.limit,
            window.starting_after,
            window.created_from,
            window.created_before
        )
        .fetch_all(&self.pool)
        .await
    }

    /// The time until the next late payment is due. `None` if there is none.
    pub async fn next_settlement(&self) -> sqlx::Result<Option<Duration>> {
        let seconds = sqlx::query_scalar!(
            "select extract(epoch from min(settle_at) - now())::float8 from payment_intents where settle_at is not null"
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    }

    /// Adds the booking and the payment method of a payment intent, which rules may match.
    pub async fn add_intent_to_target(&self, id: &str, target: &mut FaultTarget) -> sqlx::Result<()> {
        let row = sqlx::query!("select booking_id, payment_method from payment_intents where id = $1", id)
            .fetch_optional(&self.pool)
            .await?;
        if let Some(row) = row {
            target.booking_id = row.booking_id;
            target.payment_method = target.payment_method.take().or(row.payment_method);
        }
        Ok(())
    }
}

/// Locks a payment intent until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: &str) -> sqlx::Result<Option<PaymentIntent>> {
    intents!("select", "from payment_intents where id = $1 for update", id).fetch_optional(conn).await
}

/// Locks a late payment that is due and that no other replica is settling.
pub async fn lock_due(conn: &mut PgConnection) -> sqlx::Result<Option<PaymentIntent>> {
    intents!(
        "select",
        "from payment_intents where settle_at <= now() order by settle_at limit 1 for update skip locked"
    )
    .fetch_optional(conn)
    .await
}

pub async fn insert(conn: &mut PgConnection, new: &NewPaymentIntent) -> sqlx::Result<PaymentIntent> {
    let id = new_id("pi");
    let client_secret = new_id(&format!("{id}_secret"));
    intents!(
        "insert into payment_intents (id, amount, currency, status, payment_method, payment_method_types,
             automatic_payment_methods, capture_method, description, receipt_email, metadata, client_secret)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         returning",
        "",
        id,
        new.amount,
        new.currency,
        new.initial_status().into_str(),
        new.payment_method.map(|method| method.into_str()),
        &new.payment_method_types,
        new.automatic_payment_methods,
        new.capture_method,
        new.description,
        new.receipt_email,
        new.metadata,
        client_secret
    )
    .fetch_one(conn)
    .await
}

/// Stores a payment that settles `late_seconds` later, with its pending charge.
pub async fn mark_processing(
    conn: &mut PgConnection,
    id: &str,
    payment_method: &str,
    late_seconds: u32,
) -> sqlx::Result<PaymentIntent> {
    intents!(
        "with charged as (
             insert into charges (id, payment_intent, amount, currency, status, payment_method)
             select $2::text, id, amount, currency, 'pending', $3::text from payment_intents where id = $1
         )
         update payment_intents set status = 'processing', payment_method = $3, latest_charge = $2,
             last_payment_error = null, settle_at = now() + make_interval(secs => $4)
         where id = $1
         returning",
        "",
        id,
        new_id("ch"),
        payment_method,
        f64::from(late_seconds)
    )
    .fetch_one(conn)
    .await
}

pub async fn mark_canceled(conn: &mut PgConnection, id: &str, reason: Option<&str>) -> sqlx::Result<PaymentIntent> {
    intents!(
        "update payment_intents set status = 'canceled', canceled_at = now(), cancellation_reason = $2 where id = $1
         returning",
        "",
        id,
        reason
    )
    .fetch_one(conn)
    .await
}
