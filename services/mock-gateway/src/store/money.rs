//! Queries of the tables `charges`, `refunds` and `ledger_entries`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::{
    Store,
    events::{DueEvent, LEASE},
    new_id,
};
use crate::domain::intent::{Charge, IntentStatus, NewRefund, PaymentIntent, Refund};

/// A query that returns charges: what precedes their columns, what follows, and the arguments.
macro_rules! charges {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Charge,
            $before
                + " id, payment_intent, amount, amount_refunded, currency, status, payment_method, failure_code,
                    created_at "
                + $after
            $(, $argument)*
        )
    };
}

/// A movement of money.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerEntry {
    pub id: i64,
    /// `charge` or `refund`.
    pub kind: String,
    pub payment_intent: String,
    pub charge: String,
    pub refund: Option<String>,
    pub amount: i64,
    pub currency: String,
    pub booking_id: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// The requested part of the ledger.
#[derive(Clone, Debug, Default)]
pub struct LedgerWindow {
    pub booking_id: Option<String>,
    pub payment_intent: Option<String>,
    pub after: i64,
    pub limit: i64,
}

impl Store {
    pub async fn find_refund(&self, id: &str) -> sqlx::Result<Option<Refund>> {
        sqlx::query_as!(
            Refund,
            "select id, payment_intent, charge, amount, currency, reason, metadata, created_at from refunds
             where id = $1",
            id
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Newest first, as Stripe lists them. Returns one more than the limit if there are more.
    pub async fn list_refunds(
        &self,
        payment_intent: Option<&str>,
        starting_after: Option<&str>,
        limit: i64,
    ) -> sqlx::Result<Vec<Refund>> {
        sqlx::query_as!(
            Refund,
            "select id, payment_intent, charge, amount, currency, reason, metadata, created_at from refunds
             where ($1::text is null or payment_intent = $1)
               and ($2::text is null or seq < (select seq from refunds where id = $2))
             order by seq desc limit $3::bigint + 1",
            payment_intent,
            starting_after,
            limit
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Oldest first. Returns one more than the limit if there are more.
    pub async fn list_ledger(&self, window: &LedgerWindow) -> sqlx::Result<Vec<LedgerEntry>> {
        sqlx::query_as!(
            LedgerEntry,
            "select id, kind, payment_intent, charge, refund, amount, currency, booking_id, created_at
             from ledger_entries
             where ($1::text is null or booking_id = $1) and ($2::text is null or payment_intent = $2) and id > $3
             order by id limit $4::bigint + 1",
            window.booking_id,
            window.payment_intent,
            window.after,
            window.limit
        )
        .fetch_all(&self.pool)
        .await
    }
}

/// Stores a payment that succeeded or was declined, as `intent` has it: its charge, which may have been pending, the
/// ledger entry if money moved, the intent, and the event.
pub async fn settle(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    payment_method: &str,
    event: &DueEvent,
) -> sqlx::Result<()> {
    let succeeded = intent.status == IntentStatus::Succeeded;
    sqlx::query!(
        "with charged as (
             insert into charges (id, payment_intent, amount, currency, status, payment_method, failure_code)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (id) do update set status = excluded.status, failure_code = excluded.failure_code
         ), entered as (
             insert into ledger_entries (kind, payment_intent, charge, amount, currency, booking_id)
             select 'charge', $2, $1, $3, $4, $8 where $5 = 'succeeded'
         ), announced as (
             insert into events (id, type, payment_intent, booking_id, body, attempts, due_at)
             values ($13, $14, $2, $8, $15, $16, now() + make_interval(secs => $17))
         )
         update payment_intents set status = $9, amount_received = $10, payment_method = $11, latest_charge = $1,
             last_payment_error = $12, settle_at = null
         where id = $2",
        intent.latest_charge,
        intent.id,
        intent.amount,
        intent.currency,
        if succeeded { "succeeded" } else { "failed" },
        payment_method,
        (!succeeded).then_some("card_declined"),
        intent.booking_id,
        intent.status.into_str(),
        intent.amount_received,
        intent.payment_method,
        intent.last_payment_error,
        event.id,
        event.kind,
        event.body,
        event.attempts,
        LEASE.as_secs_f64()
    )
    .execute(conn)
    .await
    .map(drop)
}

pub async fn find_capture(conn: &mut PgConnection, intent: &str) -> sqlx::Result<Option<Charge>> {
    charges!("select", "from charges where payment_intent = $1 and status = 'succeeded'", intent)
        .fetch_optional(conn)
        .await
}

/// Refunds `amount` of a charge: inserts the refund and its ledger entry, and updates the charge.
pub async fn insert_refund(
    conn: &mut PgConnection,
    new: &NewRefund,
    intent: &PaymentIntent,
    charge: &Charge,
    amount: i64,
) -> sqlx::Result<(Refund, Charge)> {
    let refund = sqlx::query_as!(
        Refund,
        "insert into refunds (id, payment_intent, charge, amount, currency, reason, metadata)
         values ($1, $2, $3, $4, $5, $6, $7)
         returning id, payment_intent, charge, amount, currency, reason, metadata, created_at",
        new_id("re"),
        charge.payment_intent,
        charge.id,
        amount,
        charge.currency,
        new.reason,
        new.metadata
    )
    .fetch_one(&mut *conn)
    .await?;
    let charge = charges!(
        "with entered as (
             insert into ledger_entries (kind, payment_intent, charge, refund, amount, currency, booking_id)
             values ('refund', $3, $1, $4, $2, $5, $6)
         )
         update charges set amount_refunded = amount_refunded + $2 where id = $1 returning",
        "",
        charge.id,
        amount,
        charge.payment_intent,
        refund.id,
        charge.currency,
        intent.booking_id
    )
    .fetch_one(conn)
    .await?;
    Ok((refund, charge))
}
