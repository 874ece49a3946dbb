//! Invariants 2, 3, 5, 6, 7, 11 and 16: bookings, their reservations, tickets and events, and what users were told of them.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use bson::{Document, doc};
use futures::TryStreamExt;
use sqlx::PgPool;

use super::Violation;
use crate::journal::Journal;
use crate::world::World;

type Row = (i32, i32, String, i32, String, String, String, i64);

/// A confirmed reservation.
struct Sold {
    event_id: String,
    seats: i64,
    price: i64,
}

struct Booking {
    user_id: i32,
    event_id: String,
    seats: i64,
    status: String,
    payment_status: String,
}

/// What is left to do, by kind.
pub(crate) async fn unfinished(bookings: &PgPool) -> Result<Vec<(&'static str, i64)>> {
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

/// What booking-service's own reconciler has found to differ, and has not healed.
pub(crate) async fn findings(bookings: &PgPool) -> Result<Vec<Violation>> {
    let query = "select patrol, kind, subject from findings";
    let found: Vec<(String, String, String)> = sqlx::query_as(query).fetch_all(bookings).await?;
    let report = |(scan, kind, subject): (String, String, String)| {
        let invariant = match scan.as_str() {
            "reservations" => 2,
            "charges" => 4,
            "tickets" => 16,
            _ => 10,
        };
        Violation::new(invariant, format!("the reconciler has found {kind}: {subject}"))
    };
    Ok(found.into_iter().map(report).collect())
}

/// `deleted` are the users without an account.
pub(super) async fn check(world: &World, journal: &Journal, deleted: &HashSet<i32>) -> Result<Vec<Violation>> {
    let query = "select id, user_id, event_id, seats, status, payment_status, reservation_id::text,
                        coalesce(amount, 0) from bookings";
    let rows: Vec<Row> = sqlx::query_as(query).fetch_all(&world.bookings).await?;
    let mut reservations = confirmed_reservations(world).await?;
    let mut violations = Vec::new();
    let mut bookings = HashMap::new();
    for (id, user_id, event_id, seats, status, payment_status, reservation_id, amount) in rows {
        let (id, seats) = (i64::from(id), i64::from(seats));
        if status == "Confirmed" {
            let sold = reservations.remove(&reservation_id);
            let sold = sold.filter(|sold| (&sold.event_id, sold.seats) == (&event_id, seats));
            let what = format!("booking {id} of {amount} is Confirmed: reservation {reservation_id}");
            match sold {
                None => violations.push(Violation::new(2, format!("{what} is not confirmed in its size"))),
                Some(sold) if sold.price * seats != amount => {
                    violations.push(Violation::new(6, format!("{what} is for {seats} seats at {}", sold.price)));
                }
                Some(_) => {}
            }
        }
        // What costs nothing is Paid and stays so.
        if payment_status == "Paid" && status != "Confirmed" && amount > 0 {
            violations.push(Violation::new(5, format!("booking {id} is {status} and Paid")));
        }
        bookings.insert(id, Booking { user_id, event_id, seats, status, payment_status });
    }
    let unowned = reservations.into_iter();
    let report = |(id, sold): (String, Sold)| {
        Violation::new(2, format!("nobody has reservation {id}: {} seats of {}", sold.seats, sold.event_id))
    };
    violations.extend(unowned.map(report));
    let called_off = called_off(world).await?;
    violations.extend(told(journal, &bookings, &called_off, deleted));
    violations.extend(doubled(&world.bookings, deleted).await?);
    violations.extend(tickets(&world.bookings).await?);
    Ok(violations)
}

/// Invariant 16: each Confirmed booking has one ticket for each of its seats, and no other booking has one that is not
/// void.
async fn tickets(bookings: &PgPool) -> Result<Vec<Violation>> {
    let query = "select b.id, b.status, b.seats, array_agg(t.seat order by t.seat) filter (where t.state <> 'void')
                 from bookings b left join tickets t on t.booking_id = b.id
                 group by b.id";
    let rows: Vec<(i32, String, i32, Option<Vec<i32>>)> = sqlx::query_as(query).fetch_all(bookings).await?;
    let wrong = rows.into_iter().filter_map(|(id, status, seats, tickets)| {
        let expected: Vec<i32> = if status == "Confirmed" { (1..=seats).collect() } else { Vec::new() };
        let tickets = tickets.unwrap_or_default();
        (tickets != expected).then(|| {
            Violation::new(
                16,
                format!("booking {id} of {seats} seats is {status} and has tickets for seats {tickets:?}"),
            )
        })
    });
    Ok(wrong.collect())
}

/// Events that their organizer has called off.
async fn called_off(world: &World) -> Result<HashSet<String>> {
    let events = world.events.collection::<Document>("events");
    let found = events.find(doc! { "status": "cancelled" }).projection(doc! { "_id": 1 }).await?;
    found.map_err(anyhow::Error::from).and_then(async |found| Ok(found.get_str("_id")?.to_owned())).try_collect().await
}

/// Invariant 11: events that were called off or changed, and bookings that have not heard of it.
pub(super) async fn unheard(world: &World) -> Result<Vec<Violation>> {
    let events = world.events.collection::<Document>("events").find(doc! {}).await?;
    let events: Vec<Document> = events.try_collect().await?;
    let events: HashMap<&str, (&str, &str)> = events
        .iter()
        .map(|event| Ok((event.get_str("_id")?, (event.get_str("status")?, event.get_str("title")?))))
        .collect::<Result<_>>()?;
    let query = "select id, event_id, event_title from bookings where status in ('Pending', 'Confirmed')";
    let bookings: Vec<(i32, String, Option<String>)> = sqlx::query_as(query).fetch_all(&world.bookings).await?;
    let mut violations = Vec::new();
    for (id, event_id, known_title) in &bookings {
        let Some((status, title)) = events.get(event_id.as_str()) else { continue };
        if *status == "cancelled" {
            let what = format!("event {event_id} is called off, and booking {id} has not heard of it");
            violations.push(Violation::new(11, what));
        } else if known_title.as_ref().is_some_and(|known| known != title) {
            let what = format!("event {event_id} is {title:?} now, and booking {id} has not heard of it");
            violations.push(Violation::new(11, what));
        }
    }
    Ok(violations)
}

async fn confirmed_reservations(world: &World) -> Result<HashMap<String, Sold>> {
    let reservations = world.events.collection::<Document>("reservations");
    let confirmed = reservations.find(doc! { "state": "confirmed" }).await?;
    confirmed
        .map_err(anyhow::Error::from)
        .and_then(async |found| {
            let event_id = found.get_str("event_id")?.to_owned();
            let sold = Sold { event_id, seats: found.get_i64("seats")?, price: found.get_i64("price")? };
            Ok((found.get_str("_id")?.to_owned(), sold))
        })
        .try_collect()
        .await
}

/// Invariant 3: whoever was told of a booking has it, unless it was cancelled by its owner or its event's organizer, or
/// with its owner's account.
fn told(
    journal: &Journal,
    bookings: &HashMap<i64, Booking>,
    called_off: &HashSet<String>,
    deleted: &HashSet<i32>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let cancellations = journal.cancellations();
    for id in &cancellations.acknowledged {
        if let Some(booking) = bookings.get(id).filter(|booking| booking.status != "Cancelled") {
            violations.push(Violation::new(3, format!("booking {id} was cancelled and is {}", booking.status)));
        }
    }
    for (id, told) in journal.bookings() {
        let Some(found) = bookings.get(&id) else {
            violations.push(Violation::new(3, format!("booking {id} was acknowledged and is lost: {told:?}")));
            continue;
        };
        if (i64::from(found.user_id), &found.event_id, found.seats) != (told.user_id, &told.event_id, told.seats) {
            violations.push(Violation::new(3, format!("booking {id} is another one than was acknowledged: {told:?}")));
        }
        let ended = called_off.contains(&found.event_id) || deleted.contains(&found.user_id);
        let cancelled = cancellations.asked.contains(&id) || ended;
        let ended_well = found.status == "Confirmed" || found.status == "Cancelled" && cancelled;
        if found.status == "Rejected" || told.paid && !ended_well {
            let (status, paid) = (&found.status, &found.payment_status);
            violations
                .push(Violation::new(3, format!("booking {id} is {status} and {paid}, but its owner has {told:?}")));
        }
    }
    violations
}

/// Invariant 7: every request comes with a key, so every booking belongs to an operation of one. The keys of deleted
/// accounts are deleted too.
async fn doubled(bookings: &PgPool, deleted: &HashSet<i32>) -> Result<Vec<Violation>> {
    let query = "select b.id from bookings b
                 where not exists (select from idempotency_keys k where k.operation_id = b.operation_id)
                     and b.user_id <> all($1)";
    let deleted: Vec<i32> = deleted.iter().copied().collect();
    let ids: Vec<i32> = sqlx::query_scalar(query).bind(deleted).fetch_all(bookings).await?;
    let report = |id| Violation::new(7, format!("booking {id} belongs to no request that was made under a key"));
    Ok(ids.into_iter().map(report).collect())
}
