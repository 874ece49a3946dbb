//! Messages about changes by organizers: published once committed, and after outages of RabbitMQ.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use contracts::message::{EXCHANGE, EventFact, Message};
use event_service::loops::{self, sweeper};
use futures::{StreamExt, future::join_all};
use lapin::{
    Connection, ConnectionProperties, Consumer, ExchangeKind,
    options::{BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use platform::{bus::Bus, config::Secret, outbox::OutboxStore};
use serde_json::json;
use uuid::Uuid;

use crate::helpers::{TestApp, server, wait_until};

/// A queue of the test's own, bound to everything that event-service publishes.
struct Listener {
    _connection: Connection,
    consumer: Consumer,
}

struct Delivered {
    id: String,
    traceparent: Option<String>,
    message: Message,
}

impl Listener {
    async fn open() -> Self {
        let connection = Connection::connect(&server("TEST_AMQP_URL"), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let none = FieldTable::default;
        channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, none()).await.unwrap();
        let name = format!("event-test-{}", Uuid::new_v4());
        let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.as_str().into(), own, none()).await.unwrap();
        let bind = QueueBindOptions::default();
        channel.queue_bind(name.as_str().into(), EXCHANGE.into(), "event.*".into(), bind, none()).await.unwrap();
        let consume = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(name.as_str().into(), "test".into(), consume, none()).await.unwrap();
        Self { _connection: connection, consumer }
    }

    /// The next message about an event; skips those of other tests.
    async fn next_about(&mut self, event_id: &str) -> Delivered {
        let receiving = async {
            loop {
                let delivery = self.consumer.next().await.unwrap().unwrap();
                delivery.ack(BasicAckOptions::default()).await.unwrap();
                let message: Message = serde_json::from_slice(&delivery.data).unwrap();
                let headers = delivery.properties.headers().clone().unwrap_or_default();
                let traceparent = headers.inner().get("traceparent").and_then(|value| value.as_long_string());
                if fact(&message).event_id == event_id {
                    let id = delivery.properties.message_id().as_ref().unwrap().to_string();
                    return Delivered { id, traceparent: traceparent.map(ToString::to_string), message };
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), receiving).await.expect("a message about the event")
    }
}

fn fact(message: &Message) -> &EventFact {
    match message {
        Message::EventChanged(fact) | Message::EventCancelled(fact) => fact,
        other => panic!("not a message of event-service: {other:?}"),
    }
}

fn start_relay(app: &TestApp) {
    let bus = Bus::new(&Secret::new(server("TEST_AMQP_URL")), "test").unwrap();
    loops::start_relay(&app.app.lifecycle, &app.app.state, &bus);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_cancellation_are_published_in_order() {
    let app = TestApp::start().await;
    let mut listener = Listener::open().await;
    start_relay(&app);
    let id = app.sells(10).await;
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let path = format!("/api/events/{id}");

    let change = json!({ "venue": "Park", "title": "Open air", "price": 1 });
    let edit = app.patch(&path, &change).bearer(&app.organizer());
    edit.header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")).send().await.assert_ok();
    let applied = listener.next_about(&id).await;
    wait_until("the quiet period is over", async || notify_holders(&app).await == 1).await;
    let changed = listener.next_about(&id).await;
    app.edits(&id, &json!({ "status": "cancelled" })).await.assert_ok();
    let cancelled = listener.next_about(&id).await;

    assert!(fact(&applied.message).unannounced && applied.id != changed.id);
    let Message::EventChanged(change) = changed.message else { panic!("{:?}", changed.message) };
    assert_eq!((change.changed, change.venue.as_str()), (vec!["title".to_owned(), "venue".to_owned()], "Park"));
    assert!(changed.traceparent.unwrap().contains(trace));
    let Message::EventCancelled(end) = cancelled.message else { panic!("{:?}", cancelled.message) };
    assert!(!change.unannounced && end.version > change.version);
    assert_ne!(changed.id, cancelled.id);
    wait_until("the outbox is empty", async || app.app.state.store.outbox_backlog().await.unwrap().unpublished == 0)
        .await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_during_an_outage_of_rabbitmq_is_published_later() {
    let app = TestApp::start().await;
    let mut listener = Listener::open().await;
    let id = app.sells(10).await;

    app.edits(&id, &json!({ "status": "cancelled" })).await.assert_ok();
    let waiting = app.app.state.store.outbox_backlog().await.unwrap();
    start_relay(&app);

    assert_eq!(waiting.unpublished, 1);
    assert!(matches!(listener.next_about(&id).await.message, Message::EventCancelled(_)));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_claimed_by_one_relay_at_a_time() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    for _ in 0..6 {
        let id = app.sells(10).await;
        app.edits(&id, &json!({ "status": "cancelled" })).await.assert_ok();
    }
    let (one, two) = (&app.app.state.store, &replica.app.state.store);
    assert!(one.claim(10).await.unwrap().is_empty(), "they are leased to the replica that wrote them");
    let free = doc! { "$set": { "lease_until": DateTime::from_millis(0) } };
    app.database.collection::<Document>("outbox").update_many(doc! {}, free).await.unwrap();

    let (first, second) = tokio::join!(one.claim(10), two.claim(10));

    let mut ids: Vec<_> = first.unwrap().into_iter().chain(second.unwrap()).map(|row| row.id).collect();
    ids.sort_unstable_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!(ids.len(), 6);
    assert!(one.claim(10).await.unwrap().is_empty(), "all are leased");
    one.release(&ids[..2]).await.unwrap();
    assert_eq!(two.claim(10).await.unwrap().len(), 2);
    two.mark_published(&ids).await.unwrap();
    assert_eq!(one.outbox_backlog().await.unwrap().unpublished, 0);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unpublishable_rows_stay_and_do_not_delay_others() {
    let app = TestApp::start().await;
    let mut listener = Listener::open().await;
    let store = &app.app.state.store;
    let row = |n: i32| {
        let message = if n % 2 == 0 {
            doc! {}
        } else {
            doc! { "type": "nobody.listens" }
        };
        let (old, free) = (DateTime::from_millis(1_000), DateTime::from_millis(0));
        doc! { "_id": format!("x{n}"), "message": message, "created_at": old, "lease_until": free }
    };
    store.database().collection::<Document>("outbox").insert_many((0..450).map(row)).await.unwrap();
    let id = app.sells(10).await;
    app.edits(&id, &json!({ "status": "cancelled" })).await.assert_ok();

    start_relay(&app);

    assert!(matches!(listener.next_about(&id).await.message, Message::EventCancelled(_)));
    let counts = || async {
        let backlog = store.outbox_backlog().await.unwrap();
        (backlog.unpublished, backlog.refused)
    };
    wait_until("the other rows were refused and stay", async || counts().await == (450, 450)).await;
    app.end().await;
}

/// One round of the sweeper on this replica; returns how many due notifications it found.
async fn notify_holders(app: &TestApp) -> usize {
    sweeper::notify_holders(&app.app.state).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn holders_are_notified_once_by_several_replicas() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = app.sells(10).await;
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();
    app.edits(&id, &json!({ "venue": "Park" })).await.assert_ok();
    app.edits(&id, &json!({ "title": "Open air" })).await.assert_ok();
    let applied = app.app.state.store.outbox_backlog().await.unwrap().unpublished;

    wait_until("the quiet period is over", async || {
        let rounds = [&app, &replica, &app, &replica].map(notify_holders);
        join_all(rounds).await.into_iter().sum::<usize>() > 0
    })
    .await;
    let again = notify_holders(&replica).await;

    assert_eq!((applied, again), (2, 0));
    assert_eq!(app.app.state.store.outbox_backlog().await.unwrap().unpublished, 3);
    app.end().await;
}
