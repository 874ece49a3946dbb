//! Queries of the tables `charges`, `refunds` and `ledger_entries`: money as it moves.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::Store;
use crate::domain::{
    intent::{Charge, NewRefund, PaymentIntent, Refund},
    new_id,
};

/// A query for whole charges; the rest of the statement and its arguments follow.
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
pub(crate) struct LedgerEntry {
    pub(crate) id: i64,
    /// `charge` or `refund`.
    pub(crate) kind: String,
    pub(crate) payment_intent: String,
    pub(crate) charge: String,
    pub(crate) refund: Option<String>,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) booking_id: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

/// Which part of the ledger is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LedgerWindow {
    pub(crate) booking_id: Option<String>,
    pub(crate) payment_intent: Option<String>,
    pub(crate) after: i64,
    pub(crate) limit: i64,
}

impl Store {
    pub(crate) async fn find_refund(&self, id: &str) -> sqlx::Result<Option<Refund>> {
        sqlx::query_as!(
            Refund,
            "select id, payment_intent, charge, amount, currency, reason, metadata, created_at from refunds
             where id = $1",
            id
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Newest first, as Stripe lists them; one more than the limit where there are more.
    pub(crate) async fn list_refunds(
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

    /// Oldest first; one more than the limit where there are more.
    pub(crate) async fn list_ledger(&self, window: &LedgerWindow) -> sqlx::Result<Vec<LedgerEntry>> {
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

/// A charge that takes the money at once: with its entry in the ledger.
pub(crate) async fn insert_capture(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    payment_method: &str,
) -> sqlx::Result<String> {
    let charge = insert_charge(conn, intent, payment_method, "succeeded", None).await?;
    insert_charge_entry(conn, intent, &charge).await?;
    Ok(charge)
}

/// A charge that took nothing.
pub(crate) async fn insert_failed_charge(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    payment_method: &str,
) -> sqlx::Result<String> {
    insert_charge(conn, intent, payment_method, "failed", Some("card_declined")).await
}

/// A charge that is decided later.
pub(crate) async fn insert_pending_charge(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    payment_method: &str,
) -> sqlx::Result<String> {
    insert_charge(conn, intent, payment_method, "pending", None).await
}

async fn insert_charge(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    payment_method: &str,
    status: &str,
    failure_code: Option<&str>,
) -> sqlx::Result<String> {
    let id = new_id("ch");
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

/// Decides a pending charge: the money is taken, with its entry in the ledger.
pub(crate) async fn capture_pending(conn: &mut PgConnection, intent: &PaymentIntent, charge: &str) -> sqlx::Result<()> {
    sqlx::query!("update charges set status = 'succeeded' where id = $1 and status = 'pending'", charge)
        .execute(&mut *conn)
        .await?;
    insert_charge_entry(conn, intent, charge).await
}

/// Decides a pending charge: nothing is taken.
pub(crate) async fn fail_pending(conn: &mut PgConnection, charge: &str) -> sqlx::Result<()> {
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

/// The charge that took the money, if any did.
pub(crate) async fn find_capture(conn: &mut PgConnection, intent: &str) -> sqlx::Result<Option<Charge>> {
    select_charges!("where payment_intent = $1 and status = 'succeeded'", intent).fetch_optional(conn).await
}

/// Gives `amount` of a charge back: the refund, the charge's sum and the entry in the ledger.
pub(crate) async fn insert_refund(
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
