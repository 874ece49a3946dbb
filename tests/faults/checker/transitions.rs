//! Invariant 12, only the listed transitions happen: triggers in the database of bookings write every one down.

use anyhow::Result;
use sqlx::{AssertSqlSafe, PgPool};

use super::Violation;

/// From, to; what is written first comes from nothing.
const ALLOWED: [(&str, &[(&str, &str)]); 3] = [
    (
        "status",
        &[
            ("", "Pending"),
            ("Pending", "Confirmed"),
            ("Pending", "Rejected"),
            ("Pending", "Expired"),
            ("Pending", "Cancelled"),
            ("Expired", "Confirmed"),
            ("Confirmed", "Cancelled"),
        ],
    ),
    (
        "payment_status",
        &[("", "Unpaid"), ("Unpaid", "Paid"), ("Unpaid", "Failed"), ("Failed", "Paid"), ("Paid", "Refunded")],
    ),
    ("state", &[("", "started"), ("started", "succeeded"), ("started", "failed"), ("succeeded", "refunded")]),
];

/// Has every transition of bookings and payments written down from now on.
pub(crate) async fn record(bookings: &PgPool) -> Result<()> {
    sqlx::query(
        "create table transitions
             (id bigint generated always as identity, subject text, column_name text, before text, after text)",
    )
    .execute(bookings)
    .await?;
    for (table, column, subject) in
        [("bookings", "status", "id"), ("bookings", "payment_status", "id"), ("payments", "state", "booking_id")]
    {
        let function = format!(
            "create function record_{column}() returns trigger language plpgsql as $$ begin
                 if tg_op = 'INSERT' then
                     insert into transitions (subject, column_name, before, after)
                     values (new.{subject}, '{column}', '', new.{column});
                 elsif old.{column} <> new.{column} then
                     insert into transitions (subject, column_name, before, after)
                     values (new.{subject}, '{column}', old.{column}, new.{column});
                 end if;
                 return null;
             end $$"
        );
        let trigger = format!(
            "create trigger record_{column} after insert or update on {table}
             for each row execute function record_{column}()"
        );
        for statement in [function, trigger] {
            sqlx::query(AssertSqlSafe(statement)).execute(bookings).await?;
        }
    }
    Ok(())
}

pub(super) async fn check(bookings: &PgPool) -> Result<Vec<Violation>> {
    let query = "select column_name, before, after, min(subject), count(*) from transitions group by 1, 2, 3";
    let seen: Vec<(String, String, String, String, i64)> = sqlx::query_as(query).fetch_all(bookings).await?;
    let forbidden = seen.into_iter().filter(|(column, before, after, ..)| {
        let listed = ALLOWED.iter().find(|(name, _)| name == column).map_or(&[][..], |(_, listed)| listed);
        !listed.contains(&(before.as_str(), after.as_str()))
    });
    let report = |(column, before, after, subject, count)| {
        Violation::new(
            12,
            format!("{column} went from {before:?} to {after:?} {count} times, of booking {subject} for one"),
        )
    };
    Ok(forbidden.map(report).collect())
}
