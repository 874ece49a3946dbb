//! Invariants 10, 11 and 13: one notification for each transition that has to be told, to whom it concerns, and no
//! message dropped.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Result, ensure};
use bson::{Document, doc};
use contracts::message::{NOTIFICATION_QUEUE, QUEUES};
use futures::TryStreamExt;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

use super::Violation;
use crate::world::World;

/// As many messages wait while nothing is wrong.
const FEW: i64 = 100;

/// Whether no more messages than usual are on their way from booking-service to being notifications.
pub(super) async fn few_wait(world: &World) -> Result<bool> {
    let query = "select count(*) from outbox where published_at is null";
    let unsent: i64 = sqlx::query_scalar(query).fetch_one(&world.bookings).await?;
    Ok(unsent + i64::from(count(world, NOTIFICATION_QUEUE.name).await?) < FEW)
}

/// Fails while messages wait in the outbox of event-service or in a queue.
pub(super) async fn all_sent(world: &World) -> Result<()> {
    let waiting = world.events.collection::<Document>("outbox").count_documents(doc! {}).await?;
    ensure!(waiting == 0, "{waiting} messages in the outbox of event-service");
    let query = "select count(*) from outbox where published_at is null";
    let waiting: i64 = sqlx::query_scalar(query).fetch_one(&world.users).await?;
    ensure!(waiting == 0, "{waiting} messages in the outbox of user-service");
    let pending = world.events.collection::<Document>("untold_changes").count_documents(doc! {}).await?;
    ensure!(pending == 0, "{pending} pending notifications of changed events");
    for queue in QUEUES {
        let waiting = count(world, queue.name).await?;
        ensure!(waiting == 0, "{waiting} messages in the queue {}", queue.name);
    }
    Ok(())
}

async fn count(world: &World, queue: &str) -> Result<u32> {
    let connection = Connection::connect(&world.stack.rabbitmq.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    connection.close(200, "counted".into()).await?;
    Ok(found.message_count())
}

/// `deleted` are the users without an account, who get no notifications.
pub(super) async fn check(world: &World, deleted: &HashSet<i32>) -> Result<Vec<Violation>> {
    let mut violations = notifications(world, deleted).await?;
    violations.extend(dropped(world, deleted).await?);
    for queue in QUEUES {
        let dead = count(world, &format!("{}.dead", queue.name)).await?;
        if dead > 0 {
            violations.push(Violation::new(11, format!("{dead} dead letters of {}", queue.name)));
        }
    }
    Ok(violations)
}

/// Invariants 10 and 13: the notifications about bookings are those of their transitions, and their owners'.
async fn notifications(world: &World, deleted: &HashSet<i32>) -> Result<Vec<Violation>> {
    let query = "select 'booking.' || lower(after), bookings.id, user_id, count(*)
                 from transitions join bookings on bookings.id::text = subject
                 where after in ('Confirmed', 'Cancelled', 'Expired', 'Refunded') and column_name <> 'state'
                 group by 1, 2";
    let due: Vec<(String, i32, i32, i64)> = sqlx::query_as(query).fetch_all(&world.bookings).await?;
    let mut owners = HashMap::new();
    let mut difference: BTreeMap<(String, i32), (i64, i64)> = BTreeMap::new();
    for (kind, booking, owner, count) in due {
        owners.insert(booking, owner);
        if !deleted.contains(&owner) {
            difference.entry((kind, booking)).or_default().0 += count;
        }
    }
    let stored = world.notifications.collection::<Document>("notifications");
    let stored: Vec<Document> = stored.find(doc! { "type": { "$regex": "^booking\\." } }).await?.try_collect().await?;
    let mut violations = Vec::new();
    for notification in &stored {
        let about = (notification.get_str("type")?.to_owned(), notification.get_i32("booking_id")?);
        let reader = notification.get_i32("user_id")?;
        if let Some(owner) = owners.get(&about.1).filter(|owner| **owner != reader) {
            let what =
                format!("user {reader} was notified by {} of booking {}, which is user {owner}'s", about.0, about.1);
            violations.push(Violation::new(13, what));
        }
        // What is stored for a deleted account breaks invariant 15.
        if !deleted.contains(&reader) {
            difference.entry(about).or_default().1 += 1;
        }
    }
    let wrong = difference.into_iter().filter(|(_, (due, stored))| due != stored);
    violations.extend(wrong.map(|((kind, booking), (due, stored))| {
        Violation::new(10, format!("booking {booking}: {due} notifications {kind} are due, {stored} were stored"))
    }));
    Ok(violations)
}

/// Invariant 11: every message of the outbox became one notification, under its id, unless it is for a deleted account.
async fn dropped(world: &World, deleted: &HashSet<i32>) -> Result<Vec<Violation>> {
    let query = "select id::text, (message ->> 'user_id')::integer from outbox";
    let sent: Vec<(String, Option<i32>)> = sqlx::query_as(query).fetch_all(&world.bookings).await?;
    let stored = world.notifications.collection::<Document>("notifications");
    let stored: Vec<Document> = stored.find(doc! {}).projection(doc! { "_id": 1 }).await?.try_collect().await?;
    let mut found: HashSet<&str> = stored.iter().map(|row| row.get_str("_id")).collect::<Result<_, _>>()?;
    let mut violations = Vec::new();
    for (id, reader) in &sent {
        let is_stored = found.remove(id.as_str());
        if !is_stored && !reader.is_some_and(|reader| deleted.contains(&reader)) {
            violations.push(Violation::new(11, format!("message {id} has no notification")));
        }
    }
    violations.extend(found.into_iter().map(|id| Violation::new(10, format!("notification {id} without a message"))));
    Ok(violations)
}
