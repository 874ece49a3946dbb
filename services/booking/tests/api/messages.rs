//! Consumed messages about events and accounts, and published messages about bookings.

use std::time::Duration;

use booking_service::loops::consumer;
use chrono::{DateTime, Utc};
use contracts::message::{EXCHANGE, EventFact, Message};
use futures::StreamExt;
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use platform::{
    Lifecycle,
    bus::{Bus, Failure, Publisher, Received},
    config::Secret,
    outbox::{OutboxMessage, OutboxRow},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    helpers::{ALICE, BOB, TestApp, server, wait_for},
    neighbours::Fault,
};

fn fact(event_id: &str, title: &str, version: i64, now: DateTime<Utc>) -> EventFact {
    EventFact {
        event_id: event_id.to_owned(),
        title: title.to_owned(),
        venue: "Hall".to_owned(),
        starts_at: now + chrono::TimeDelta::days(90),
        ends_at: now + chrono::TimeDelta::days(91),
        time_zone: "Europe/Berlin".to_owned(),
        changed: vec!["title".to_owned()],
        version,
        edited_version: None,
        unannounced: false,
        occurred_at: now,
    }
}

impl TestApp {
    pub(crate) fn event_fact(&self, event_id: &str, title: &str, version: i64) -> EventFact {
        fact(event_id, title, version, self.clock().now())
    }

    pub(crate) async fn receives(&self, id: Uuid, message: Message) {
        consumer::handle(self.state(), Received { id, message }).await.unwrap();
    }

    /// The outbox rows of a type: ids and bodies.
    async fn outbox(&self, kind: &str) -> Vec<(Uuid, Value)> {
        sqlx::query_as("select id, message from outbox where message->>'type' = $1 order by created_at, id")
            .bind(kind)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_cancelled_event_ends_and_refunds_every_booking_and_notifies_every_holder_once() {
    let app = TestApp::start().await;
    let (event, other) = (app.neighbours.event(50, 2500), app.neighbours.event(50, 2500));
    let (paid, pending, elsewhere) = (app.buys(&event, 2).await, app.books(&event, 1).await, app.buys(&other, 1).await);
    let theirs = app.booking_request(BOB, &event, 3).send().await.id();
    app.neighbours.world().events.get_mut(&event).unwrap().cancelled = true;
    let (id, message) = (Uuid::new_v4(), Message::EventCancelled(app.event_fact(&event, "Concert", 2)));

    app.receives(id, message.clone()).await;
    app.execute("delete from processed_messages").await;
    app.receives(id, message.clone()).await;
    app.receives(id, message).await;
    app.sweeps().await;

    app.stands(paid, "Cancelled", "Refunded").await;
    app.stands(pending, "Cancelled", "Unpaid").await;
    app.stands(theirs, "Cancelled", "Unpaid").await;
    app.stands(elsewhere, "Confirmed", "Paid").await;
    assert_eq!(app.neighbours.seats(&event, "held") + app.neighbours.seats(&event, "confirmed"), 0);
    assert_eq!(app.messages_about(pending).await.iter().filter(|kind| *kind == "booking.cancelled").count(), 1);
    let holders = app.outbox("holder.event_cancelled").await;
    let told: Vec<i64> = holders.iter().map(|(_, body)| body["user_id"].as_i64().unwrap()).collect();
    assert_eq!((holders.len(), told.contains(&i64::from(ALICE)), told.contains(&i64::from(BOB))), (2, true, true));
    assert_eq!(app.booking(paid).await["cancel_reason"], "event_cancelled");
    assert_eq!(app.outbox("booking.cancelled").await[0].1["reason"], "event_cancelled");
    app.is_consistent().await;
}

#[tokio::test]
async fn a_booking_without_seats_is_rejected_without_a_message_when_its_event_is_cancelled() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(50, 2500);
    app.neighbours.always("hold", Fault::FailsAfterwards);
    app.booking_request(ALICE, &event, 2).key("k").send().await.assert_refused(503, "event_service_unavailable");
    app.neighbours.recover();
    let (booking,): (i32,) = app.row("select id from bookings where user_id = $1", ALICE).await;

    app.receives(Uuid::new_v4(), Message::EventCancelled(app.event_fact(&event, "Concert", 2))).await;
    app.sweeps().await;

    app.stands(booking, "Rejected", "Unpaid").await;
    assert!(app.messages_about(booking).await.is_empty());
    assert_eq!(app.neighbours.seats(&event, "held"), 0);
    app.booking_request(ALICE, &event, 2).key("k").send().await.assert_refused(409, "event_cancelled");
}

#[tokio::test]
async fn a_payment_under_way_is_refunded_when_its_event_is_cancelled() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(50, 2500);
    let booking = app.books(&event, 2).await;
    app.pays(booking, "pm_mock_late").await;
    app.receives(Uuid::new_v4(), Message::EventCancelled(app.event_fact(&event, "Concert", 2))).await;
    app.stands(booking, "Cancelled", "Unpaid").await;
    app.neighbours.decide(&app.neighbours.charge_of(booking));

    app.sweeps().await;

    app.stands(booking, "Cancelled", "Refunded").await;
    assert_eq!(app.messages_about(booking).await, ["booking.cancelled", "booking.refunded"]);
    app.is_consistent().await;
}

#[tokio::test]
async fn an_event_with_more_bookings_than_a_batch_is_cancelled_completely() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.books(&event, 1).await;
    app.execute(
        "insert into bookings (user_id, event_id, seats, user_name, user_email, operation_id, reservation_id,
             expires_at, price, amount, currency, event_title, event_starts_at, organizer_id)
         select 1000 + n, event_id, seats, user_name, user_email, gen_random_uuid(), gen_random_uuid(), expires_at,
             price, amount, currency, event_title, event_starts_at, organizer_id
         from bookings, generate_series(1, 1200) n",
    )
    .await;

    app.receives(Uuid::new_v4(), Message::EventCancelled(app.event_fact(&event, "Concert", 2))).await;

    let (left,): (i64,) = app.row("select count(*) from bookings where status <> 'Cancelled' and id > $1", 0).await;
    assert_eq!(left, 0);
    assert_eq!(app.outbox("booking.cancelled").await.len(), 1201);
    assert_eq!(app.outbox("holder.event_cancelled").await.len(), 1201);
}

#[tokio::test]
async fn a_changed_event_is_stored_and_its_holders_are_notified_once() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(50, 2500);
    let booking = app.buys(&event, 2).await;
    app.books(&event, 1).await;
    let gone = app.booking_request(BOB, &event, 3).send().await.id();
    app.cancel_request(BOB, gone).send().await;
    let (id, message) = (Uuid::new_v4(), Message::EventChanged(app.event_fact(&event, "Opera", 3)));

    app.receives(id, message.clone()).await;
    app.execute("delete from processed_messages").await;
    app.receives(id, message).await;
    app.receives(Uuid::new_v4(), Message::EventChanged(app.event_fact(&event, "Older", 2))).await;

    assert_eq!(app.booking(booking).await["event_title"], "Opera");
    let told = app.outbox("holder.event_changed").await;
    assert_eq!(told.len(), 2, "one for each of two messages: {told:?}");
    assert!(told.iter().all(|(_, body)| body["user_id"] == ALICE));
    assert_eq!(told[0].1["event"]["title"], "Opera");
}

#[tokio::test]
async fn unsupported_messages_are_left_to_a_newer_version() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(50, 2500);
    let booking = app.buys(&event, 2).await;
    let booking = app.state().store.find_booking(booking).await.unwrap().unwrap();
    let message = Message::BookingConfirmed(booking.fact(app.clock().now()));

    let refused = consumer::handle(app.state(), Received { id: Uuid::new_v4(), message }).await;

    assert!(matches!(refused, Err(Failure::Unsupported(_))), "{refused:?}");
}

#[tokio::test]
async fn the_consumer_waits_for_its_database() {
    let app = TestApp::with(&["--database-url", "postgres://u:p@127.0.0.1:1/none"]).await;
    let message = Message::EventCancelled(app.event_fact("e", "Concert", 2));

    let refused = consumer::handle(app.state(), Received { id: Uuid::new_v4(), message }).await;

    assert!(matches!(refused, Err(Failure::Unavailable(_))), "{refused:?}");
}

/// Consumes what is published to the platform's exchange from now on.
async fn listen(pattern: &str) -> (Connection, lapin::Consumer) {
    let connection = Connection::connect(&server("TEST_AMQP_URL"), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    // The platform's exchange must exist before a queue can be bound to it.
    Publisher::new(Bus::new(&Secret::new(server("TEST_AMQP_URL")), "test").unwrap()).ping().await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
    let name = queue.name().clone();
    let bind = QueueBindOptions::default();
    channel.queue_bind(name.clone(), EXCHANGE.into(), pattern.into(), bind, FieldTable::default()).await.unwrap();
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer = channel.basic_consume(name, "".into(), no_ack, FieldTable::default()).await.unwrap();
    (connection, consumer)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_committed_while_rabbitmq_is_down_are_published_afterwards() {
    let (_connection, mut heard) = listen("booking.*").await;
    let app = TestApp::with(&["--amqp-url", "amqp://u:p@127.0.0.1:1"]).await;
    let event = app.neighbours.event(10, 2500);
    app.app.spawn();
    let booking = app.buys(&event, 2).await;
    app.stands(booking, "Confirmed", "Paid").await;
    app.app.lifecycle.stop();
    let ours = app.outbox("booking.confirmed").await[0].0;
    app.leases_end().await;

    let back = Lifecycle::new();
    let bus = Bus::new(&Secret::new(server("TEST_AMQP_URL")), "test").unwrap();
    booking_service::loops::start_relay(&back, app.state(), &bus);

    let listening = async {
        loop {
            let delivery = heard.next().await.unwrap().unwrap();
            // Other tests use the same broker.
            if delivery.properties.message_id().as_ref().unwrap().as_str() == ours.to_string() {
                return delivery;
            }
        }
    };
    let delivery = tokio::time::timeout(Duration::from_secs(30), listening).await.unwrap();
    assert_eq!(delivery.routing_key.as_str(), "booking.confirmed");
    let body: Value = serde_json::from_slice(&delivery.data).unwrap();
    assert_eq!(
        (&body["booking_id"], &body["amount"], &body["event_title"]),
        (&booking.into(), &5000.into(), &"Concert".into())
    );
    wait_for("the row is marked", async || {
        let (left,): (i64,) = app.row("select count(*) from outbox where published_at is null and $1 > 0", 1).await;
        (left == 0).then_some(())
    })
    .await;
    back.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_event_service_and_user_service_are_consumed_from_their_queues() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.app.spawn();
    let messages = [Message::EventCancelled(app.event_fact(&event, "Concert", 2)), app.account_deleted(BOB)];
    let messages = messages.map(|message| {
        let created_at = app.clock().now();
        OutboxRow::from(OutboxMessage { id: Uuid::new_v4(), message, traceparent: None, created_at })
    });

    let publisher = Publisher::new(Bus::new(&Secret::new(server("TEST_AMQP_URL")), "test").unwrap());
    for published in publisher.publish_all(&messages).await {
        published.unwrap();
    }

    wait_for("the deletion of an account is stored", async || {
        let (stored,): (i64,) = app.row("select count(*) from account_deletions where user_id = $1", BOB).await;
        (stored == 1).then_some(())
    })
    .await;
    wait_for("money and seats went back", async || {
        let refunded = app.standing(booking).await.1 == "Refunded";
        (refunded && app.neighbours.seats(&event, "confirmed") == 0).then_some(())
    })
    .await;
    app.app.lifecycle.stop();
    app.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unpublishable_rows_delay_no_others_and_are_never_marked_published() {
    let (_connection, mut heard) = listen("booking.*").await;
    let app = TestApp::start().await;
    let (unusable, of_tomorrow) = (450, Uuid::new_v4());
    app.execute(
        "insert into outbox (id, message, created_at)
         select gen_random_uuid(), message, case when n > 1 then now() - interval '1 hour' else '-infinity' end
         from generate_series(1, 90) n,
              unnest(array['[]', '5', '{\"type\": \"\"}', '{\"type\": \"nobody.listens\"}', '{}']::jsonb[]) message",
    )
    .await;
    sqlx::query("insert into outbox (id, message) values ($1, '{\"type\": \"booking.of_tomorrow\", \"seats\": 1.50}')")
        .bind(of_tomorrow)
        .execute(&app.pool)
        .await
        .unwrap();
    let event = app.neighbours.event(10, 2500);
    app.buys(&event, 2).await;
    let ours = app.outbox("booking.confirmed").await[0].0;

    let lifecycle = Lifecycle::new();
    let bus = Bus::new(&Secret::new(server("TEST_AMQP_URL")), "test").unwrap();
    booking_service::loops::start_relay(&lifecycle, app.state(), &bus);

    let listening = async {
        let (mut facts, mut body) = (0, Vec::new());
        while facts < 1 || body.is_empty() {
            let delivery = heard.next().await.unwrap().unwrap();
            let id = delivery.properties.message_id().as_ref().unwrap().to_string();
            facts += usize::from(id == ours.to_string());
            if id == of_tomorrow.to_string() {
                body = delivery.data;
            }
        }
        body
    };
    let body = tokio::time::timeout(Duration::from_secs(30), listening).await.unwrap();
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains(r#""type": "booking.of_tomorrow""#) && body.contains("1.50"), "as it was stored: {body}");
    let refused = wait_for("every other row was tried", async || {
        let backlog = app.state().store.outbox().backlog().await.unwrap();
        (backlog.refused == unusable && backlog.unpublished == unusable).then_some(backlog)
    })
    .await;
    assert!(refused.lag_seconds < 1.0, "refused rows do not count as lag: {refused:?}");
    lifecycle.stop();
}
