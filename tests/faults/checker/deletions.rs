//! Invariant 15: nothing is left of whoever deleted their account, and all they had booked is given back.
//!
//! The gateway's tables are searched too. They stand for the payment provider's, and booking-service tells it nothing of
//! the person: a name there would have come from us.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use bson::{Document, doc};
use eventplatform_tests::people::PASSWORD;
use futures::TryStreamExt;
use serde_json::json;

use super::Violation;
use crate::journal::{Departure, Journal};
use crate::workload::LEAVER;
use crate::world::World;

/// The ids of the users whose accounts are deleted.
pub(super) async fn deleted(world: &World) -> Result<HashSet<i32>> {
    let query = "select id from users where deleted_at is not null";
    let ids: Vec<i32> = sqlx::query_scalar(query).fetch_all(&world.users).await?;
    Ok(ids.into_iter().collect())
}

/// Makes every deletion due, and fails until each is finished in booking-service and known to notification-service.
pub(super) async fn all_finished(world: &World) -> Result<()> {
    world.end_settling(None).await?;
    let deleted = deleted(world).await?;
    let query = "select user_id from account_deletions where finished_at is not null";
    let finished: Vec<i32> = sqlx::query_scalar(query).fetch_all(&world.bookings).await?;
    let left = deleted.difference(&finished.into_iter().collect()).count();
    ensure!(left == 0, "{left} deletions are not finished in booking-service");
    let marked = world.notifications.collection::<Document>("counters");
    let marked = marked.count_documents(doc! { "deleted_at": { "$exists": true } }).await?;
    let left = deleted.len().saturating_sub(usize::try_from(marked)?);
    ensure!(left == 0, "notification-service has not heard of {left} deletions");
    Ok(())
}

pub(super) async fn check(world: &World, journal: &Journal, deleted: &HashSet<i32>) -> Result<Vec<Violation>> {
    let departures = journal.departures();
    let mut violations = Vec::new();
    for id in deleted.iter().filter(|id| !departures.contains_key(&i64::from(**id))) {
        violations.push(violation(format!("account {id} is deleted, and nobody asked for it")));
    }
    let is_deleted = |departure: &Departure| deleted.iter().any(|id| i64::from(*id) == departure.user_id);
    let (gone, there): (Vec<_>, Vec<_>) = departures.into_values().partition(is_deleted);
    let kept = there.iter().filter(|departure| departure.acknowledged);
    violations.extend(kept.map(|Departure { user_id, .. }| {
        violation(format!("user {user_id} was told that the account is deleted, and it is not"))
    }));
    let gone: Vec<_> = gone.into_iter().filter(|departure| !departure.returned).collect();
    violations.extend(known(world, &gone).await?);
    violations.extend(open(world, deleted).await?);
    violations.extend(held(world, deleted).await?);
    // Last, for the new accounts have the addresses.
    violations.extend(refused(world, journal, &gone).await?);
    Ok(violations)
}

fn violation(what: String) -> Violation {
    Violation::new(15, what)
}

/// Where the name or the address of somebody is stored who is gone.
async fn known(world: &World, gone: &[Departure]) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for hit in world.stack.search(LEAVER).await? {
        for Departure { user_id, name, email, .. } in gone {
            if hit.holds(name) || hit.holds(email) {
                let what = format!("user {user_id} deleted the account, and {} holds name or address", hit.place);
                violations.push(violation(what));
            }
        }
    }
    Ok(violations)
}

/// Bookings that are not cancelled, or were paid for and not refunded. Every event of the run is still to come.
async fn open(world: &World, deleted: &HashSet<i32>) -> Result<Vec<Violation>> {
    let query = "select id, status, payment_status from bookings b
                 where user_id = any($1) and (
                     status in ('Pending', 'Confirmed')
                     or exists (select from payments p
                                where p.booking_id = b.id and p.state in ('started', 'succeeded')))";
    let deleted: Vec<i32> = deleted.iter().copied().collect();
    let open: Vec<(i32, String, String)> = sqlx::query_as(query).bind(deleted).fetch_all(&world.bookings).await?;
    let report = |(id, status, payment): (i32, String, String)| {
        violation(format!("booking {id} is {status} and {payment}, and its owner's account is deleted"))
    };
    Ok(open.into_iter().map(report).collect())
}

/// Seats that are not given back, and notifications that nobody can read.
async fn held(world: &World, deleted: &HashSet<i32>) -> Result<Vec<Violation>> {
    let of_deleted = doc! { "$in": deleted.iter().copied().collect::<Vec<_>>() };
    let seats = doc! { "user_id": of_deleted.clone(), "state": { "$ne": "released" } };
    let seats = world.events.collection::<Document>("reservations").find(seats).await?;
    let seats: Vec<Document> = seats.try_collect().await?;
    let notifications = world.notifications.collection::<Document>("notifications");
    let told: Vec<Document> = notifications.find(doc! { "user_id": of_deleted }).await?.try_collect().await?;
    let mut violations = Vec::new();
    for seat in &seats {
        let (id, state, user) = (seat.get_str("_id")?, seat.get_str("state")?, seat.get_i32("user_id")?);
        violations.push(violation(format!("reservation {id} is {state}, and the account of user {user} is deleted")));
    }
    for notification in &told {
        let (id, user) = (notification.get_str("_id")?, notification.get_i32("user_id")?);
        violations.push(violation(format!("notification {id} is stored, and the account of user {user} is deleted")));
    }
    Ok(violations)
}

/// Has every address register again, and reports those that cannot.
async fn refused(world: &World, journal: &Journal, gone: &[Departure]) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for Departure { user_id, email, .. } in gone {
        let body = json!({ "email": email, "password": PASSWORD, "name": "Somebody new" });
        let reply = world.stack.visitor().post("/users/register", &body).await?;
        if reply.status == 201 {
            journal.returned(*user_id);
        } else {
            let what = format!("the address of user {user_id}, whose account is deleted, is refused: {}", reply.body);
            violations.push(violation(what));
        }
    }
    Ok(violations)
}
