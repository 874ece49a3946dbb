//! Queries of the tables `charges`, `refunds` and `ledger_entries`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::{Store, new_id};
use crate::domain::intent::{Charge, NewRefund, PaymentIntent, Refund};

/// A query for charges: the rest of the statement, then its arguments.
macro_rules! select_charges {
    ($rest:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            Charge,
            "select id, payment_intent, amount, amount_refunded, currency, status, payment_method, failure_code,
                 created_at
             from charges " + $rest,
            $($argument),*
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

/// Inserts a captured charge and its ledger entry.
pub async fn insert_capture(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    payment_method: &str,
) -> sqlx::Result<String> {
    let charge = insert_charge(conn, intent, payment_method, "succeeded").await?;
    insert_charge_entry(conn, intent, &charge).await?;
    Ok(charge)
}

/// Inserts a charge that is `failed` (declined) or `pending`, which is settled later.
pub async fn insert_charge(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    payment_method: &str,
    status: &str,
) -> sqlx::Result<String> {
    let id = new_id("ch");
    let failure_code = (status == "failed").then_some("card_declined");
    sqlx::query!(
        "insert into charges (id, payment_intent, amount, currency, status, payment_method, failure_code)
         values ($1, $2, $3, $4, $5, $6, $7)",
        id,
        intent.id,
        intent.amount,
        intent.currency,
        status,
        payment_method,
        failure_code
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// Captures a pending charge and inserts its ledger entry.
pub async fn capture_pending(conn: &mut PgConnection, intent: &PaymentIntent, charge: &str) -> sqlx::Result<()> {
    sqlx::query!("update charges set status = 'succeeded' where id = $1 and status = 'pending'", charge)
        .execute(&mut *conn)
        .await?;
    insert_charge_entry(conn, intent, charge).await
}

/// Declines a pending charge.
pub async fn fail_pending(conn: &mut PgConnection, charge: &str) -> sqlx::Result<()> {
    let sql = sqlx::query!(
        "update charges set status = 'failed', failure_code = 'card_declined' where id = $1 and status = 'pending'",
        charge
    );
    sql.execute(conn).await.map(drop)
}

async fn insert_charge_entry(conn: &mut PgConnection, intent: &PaymentIntent, charge: &str) -> sqlx::Result<()> {
    let sql = sqlx::query!(
        "insert into ledger_entries (kind, payment_intent, charge, amount, currency, booking_id)
         values ('charge', $1, $2, $3, $4, $5)",
        intent.id,
        charge,
        intent.amount,
        intent.currency,
        intent.booking_id
    );
    sql.execute(conn).await.map(drop)
}

pub async fn find_capture(conn: &mut PgConnection, intent: &str) -> sqlx::Result<Option<Charge>> {
    select_charges!("where payment_intent = $1 and status = 'succeeded'", intent).fetch_optional(conn).await
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
    sqlx::query!("update charges set amount_refunded = amount_refunded + $2 where id = $1", charge.id, amount)
        .execute(&mut *conn)
        .await?;
    sqlx::query!(
        "insert into ledger_entries (kind, payment_intent, charge, refund, amount, currency, booking_id)
         values ('refund', $1, $2, $3, $4, $5, $6)",
        charge.payment_intent,
        charge.id,
        refund.id,
        amount,
        charge.currency,
        intent.booking_id
    )
    .execute(&mut *conn)
    .await?;
    let charge = select_charges!("where id = $1", charge.id).fetch_one(conn).await?;
    Ok((refund, charge))
}
