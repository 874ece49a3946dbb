//! What organizers change is told over RabbitMQ, once it is committed and whenever RabbitMQ is there.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use contracts::message::{EXCHANGE, EventFact, Message};
use event_service::sweeper;
use futures::{StreamExt, future::join_all};
use lapin::{
    Connection, ConnectionProperties, Consumer, ExchangeKind,
    options::{BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use platform::{bus::Bus, config::Secret, outbox::OutboxStore};
use serde_json::json;
use uuid::Uuid;

use crate::helpers::{TestApp, eventually, server};

/// A queue of the test's own, bound to everything that event-service tells.
struct Listener {
    _connection: Connection,
    consumer: Consumer,
}

/// A message that was heard: its id, the trace that it came with, and what it says.
struct Heard {
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

    /// The next message about an event; those of other tests are passed over.
    async fn hears_of(&mut self, event_id: &str) -> Heard {
        let hearing = async {
            loop {
                let delivery = self.consumer.next().await.unwrap().unwrap();
                delivery.ack(BasicAckOptions::default()).await.unwrap();
                let message: Message = serde_json::from_slice(&delivery.data).unwrap();
                let headers = delivery.properties.headers().clone().unwrap_or_default();
                let traceparent = headers.inner().get("traceparent").and_then(|value| value.as_long_string());
                if fact(&message).event_id == event_id {
                    let id = delivery.properties.message_id().as_ref().unwrap().to_string();
                    return Heard { id, traceparent: traceparent.map(ToString::to_string), message };
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), hearing).await.expect("a message about the event")
    }
}

fn fact(message: &Message) -> &EventFact {
    match message {
        Message::EventChanged(fact) | Message::EventCancelled(fact) => fact,
        other => panic!("not told by event-service: {other:?}"),
    }
}

fn bus() -> Bus {
    Bus::new(&Secret::new(server("TEST_AMQP_URL")), "test").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_cancellation_are_told_in_order() {
    let app = TestApp::start().await;
    let mut listener = Listener::open().await;
    app.app.spawn_relay(bus());
    let id = app.sells(10).await;
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let path = format!("/api/events/{id}");

    let change = json!({ "venue": "Park", "title": "Open air", "price": 1 });
    let edit = app.patch(&path, &change).bearer(&app.organizer());
    edit.header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")).send().await.assert_ok();
    let taken_over = listener.hears_of(&id).await;
    eventually("it was quiet", || async { look(&app).await == 1 }).await;
    let changed = listener.hears_of(&id).await;
    app.edits(&id, &json!({ "status": "cancelled" })).await.assert_ok();
    let cancelled = listener.hears_of(&id).await;

    assert!(fact(&taken_over.message).untold && taken_over.id != changed.id);
    let Message::EventChanged(change) = changed.message else { panic!("{:?}", changed.message) };
    assert_eq!((change.changed, change.venue.as_str()), (vec!["title".to_owned(), "venue".to_owned()], "Park"));
    assert!(changed.traceparent.unwrap().contains(trace));
    let Message::EventCancelled(end) = cancelled.message else { panic!("{:?}", cancelled.message) };
    assert!(!change.untold && end.version > change.version);
    assert_ne!(changed.id, cancelled.id);
    eventually("the outbox is empty", || async {
        app.app.state().store.outbox_backlog().await.unwrap().unpublished == 0
    })
    .await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_while_rabbitmq_was_away_is_told_later() {
    let app = TestApp::start().await;
    let mut listener = Listener::open().await;
    let id = app.sells(10).await;

    app.edits(&id, &json!({ "status": "cancelled" })).await.assert_ok();
    let waiting = app.app.state().store.outbox_backlog().await.unwrap();
    app.app.spawn_relay(bus());

    assert_eq!(waiting.unpublished, 1);
    assert!(matches!(listener.hears_of(&id).await.message, Message::EventCancelled(_)));
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
    let (one, two) = (&app.app.state().store, &replica.app.state().store);

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
async fn rows_that_cannot_be_published_hold_no_others_up_and_stay() {
    let app = TestApp::start().await;
    let mut listener = Listener::open().await;
    let store = &app.app.state().store;
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

    app.app.spawn_relay(bus());

    assert!(matches!(listener.hears_of(&id).await.message, Message::EventCancelled(_)));
    let counts = || async {
        let backlog = store.outbox_backlog().await.unwrap();
        (backlog.unpublished, backlog.refused)
    };
    eventually("the others were tried, and stay", || async { counts().await == (450, 450) }).await;
    app.end().await;
}

/// A replica looks for changes that have waited long enough; how many it found.
async fn look(app: &TestApp) -> usize {
    let state = app.app.state();
    sweeper::tell_changes(&state.store, &state.capacity).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_once_however_many_replicas_look() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = app.sells(10).await;
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();
    app.edits(&id, &json!({ "venue": "Park" })).await.assert_ok();
    app.edits(&id, &json!({ "title": "Open air" })).await.assert_ok();
    let taken_over = app.app.state().store.outbox_backlog().await.unwrap().unpublished;

    eventually("it was quiet", || async {
        let looks = join_all([look(&app), look(&replica), look(&app), look(&replica)]).await;
        looks.into_iter().sum::<usize>() > 0
    })
    .await;
    let again = look(&replica).await;

    assert_eq!((taken_over, again), (2, 0));
    assert_eq!(app.app.state().store.outbox_backlog().await.unwrap().unpublished, 3);
    app.end().await;
}
