//! Invariants 2, 3, 5 and 7: bookings, their reservations, and what users were told of them.

use std::collections::HashMap;

use anyhow::Result;
use bson::Document;
use futures::TryStreamExt;
use sqlx::PgPool;

use super::Violation;
use crate::journal::Journal;
use crate::world::World;

type Row = (i32, i32, String, i32, String, String, String, i64);

struct Booking {
    user_id: i64,
    event_id: String,
    seats: i64,
    status: String,
    payment_status: String,
}

/// What is left to do, by kind.
pub(super) async fn unfinished(bookings: &PgPool) -> Result<Vec<(&'static str, i64)>> {
    let query = "select (select count(*) from bookings where status = 'Pending'),
                        (select count(*) from bookings where release_pending),
                        (select count(*) from payments
                         where state = 'started' or (state = 'succeeded' and settled_at is null)),
                        (select count(*) from refunds where state = 'pending'),
                        (select count(*) from outbox where published_at is null)";
    let (pending, releases, payments, refunds, messages): (i64, i64, i64, i64, i64) =
        sqlx::query_as(query).fetch_one(bookings).await?;
    Ok(vec![
        ("bookings", pending),
        ("releases", releases),
        ("payments", payments),
        ("refunds", refunds),
        ("messages", messages),
    ])
}

pub(super) async fn check(world: &World, journal: &Journal) -> Result<Vec<Violation>> {
    let query = "select id, user_id, event_id, seats, status, payment_status, reservation_id::text,
                        coalesce(amount, 0) from bookings";
    let rows: Vec<Row> = sqlx::query_as(query).fetch_all(&world.bookings).await?;
    let mut reservations = confirmed_reservations(world).await?;
    let mut violations = Vec::new();
    let mut bookings = HashMap::new();
    for (id, user_id, event_id, seats, status, payment_status, reservation_id, amount) in rows {
        let (id, user_id, seats) = (i64::from(id), i64::from(user_id), i64::from(seats));
        if status == "Confirmed" && reservations.remove(&reservation_id) != Some((event_id.clone(), seats)) {
            let what =
                format!("booking {id} is Confirmed without a confirmed reservation {reservation_id} of its size");
            violations.push(Violation::new(2, what));
        }
        // What costs nothing is Paid and stays so.
        if payment_status == "Paid" && status != "Confirmed" && amount > 0 {
            violations.push(Violation::new(5, format!("booking {id} is {status} and Paid")));
        }
        bookings.insert(id, Booking { user_id, event_id, seats, status, payment_status });
    }
    let unowned = reservations.into_iter();
    violations.extend(unowned.map(|(id, seats)| Violation::new(2, format!("nobody has reservation {id}: {seats:?}"))));
    violations.extend(told(journal, &bookings));
    violations.extend(doubled(&world.bookings).await?);
    Ok(violations)
}

async fn confirmed_reservations(world: &World) -> Result<HashMap<String, (String, i64)>> {
    let reservations = world.events.collection::<Document>("reservations");
    let confirmed = reservations.find(bson::doc! { "state": "confirmed" }).await?;
    confirmed
        .map_err(anyhow::Error::from)
        .and_then(|found| async move {
            let seats = (found.get_str("event_id")?.to_owned(), found.get_i64("seats")?);
            Ok((found.get_str("_id")?.to_owned(), seats))
        })
        .try_collect()
        .await
}

/// Invariant 3: whoever was told of a booking has it.
fn told(journal: &Journal, bookings: &HashMap<i64, Booking>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (id, told) in journal.bookings() {
        let Some(found) = bookings.get(&id) else {
            violations.push(Violation::new(3, format!("booking {id} was acknowledged and is lost: {told:?}")));
            continue;
        };
        if (found.user_id, &found.event_id, found.seats) != (told.user_id, &told.event_id, told.seats) {
            violations.push(Violation::new(3, format!("booking {id} is another one than was acknowledged: {told:?}")));
        }
        let ended_well = ["Confirmed", "Cancelled"].contains(&found.status.as_str());
        if found.status == "Rejected" || told.paid && !ended_well {
            let (status, paid) = (&found.status, &found.payment_status);
            violations
                .push(Violation::new(3, format!("booking {id} is {status} and {paid}, but its owner has {told:?}")));
        }
    }
    violations
}

/// Invariant 7: every request comes with a key, so every booking belongs to an operation of one.
async fn doubled(bookings: &PgPool) -> Result<Vec<Violation>> {
    let query = "select b.id from bookings b
                 where not exists (select from idempotency_keys k where k.operation_id = b.operation_id)";
    let ids: Vec<i32> = sqlx::query_scalar(query).fetch_all(bookings).await?;
    let report = |id| Violation::new(7, format!("booking {id} belongs to no request that was made under a key"));
    Ok(ids.into_iter().map(report).collect())
}
