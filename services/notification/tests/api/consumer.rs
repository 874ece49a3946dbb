//! Messages through RabbitMQ. The queue has one name, so these tests run one after the other.

use std::time::Duration;

use axum::http::StatusCode;
use bson::{Document, doc};
use chrono::TimeDelta;
use contracts::message::{EXCHANGE, Message, NOTIFICATION_QUEUE, NOTIFICATION_QUEUES, UserFact};
use futures::TryStreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
        QueuePurgeOptions,
    },
    types::FieldTable,
};
use platform::{
    Clock,
    bus::{Bus, Failure, Publisher, dead_letter_queue},
    config::Secret,
    outbox::OutboxMessage,
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    helpers::{Options, TestApp, address, booking, noon, server, wait_until},
    proxy::Proxy,
};

/// Longer than it takes to notice that a replica died, shorter than MongoDB keeps its transaction open.
const SOON: Duration = Duration::from_secs(8);

static LOCK: Mutex<()> = Mutex::const_new(());

/// RabbitMQ with empty queues. Only one test has it at a time.
pub(crate) struct Broker {
    publisher: Publisher,
    channel: Channel,
    _connection: Connection,
    _lock: MutexGuard<'static, ()>,
}

impl Broker {
    pub(crate) async fn lock() -> Self {
        let lock = LOCK.lock().await;
        let url = server("TEST_AMQP_URL");
        let publisher = Publisher::new(Bus::new(&Secret::new(url.as_str()), "test").unwrap());
        publisher.ping().await.unwrap();
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        // A consumer of the previous test may still be stopping.
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        for queue in NOTIFICATION_QUEUES {
            wait_until("the queue has no consumer", async || {
                let declaring = channel.queue_declare(queue.name.into(), passive, FieldTable::default());
                declaring.await.unwrap().consumer_count() == 0
            })
            .await;
            for name in [queue.name.to_owned(), dead_letter_queue(queue)] {
                channel.queue_purge(name.into(), QueuePurgeOptions::default()).await.unwrap();
            }
        }
        Self { publisher, channel, _connection: connection, _lock: lock }
    }

    pub(crate) async fn publishes(&self, id: Uuid, message: Message) {
        let row = OutboxMessage { id, message, traceparent: None, created_at: noon() };
        self.publisher.publish_all(&[row.into()]).await.remove(0).unwrap();
    }

    async fn publishes_raw(&self, exchange: &str, key: &str, id: &str, body: &str) {
        let properties = BasicProperties::default().with_message_id(id.into()).with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let publishing = self.channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties);
        publishing.await.unwrap().await.unwrap();
    }

    async fn dead_letters(&self) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = dead_letter_queue(NOTIFICATION_QUEUE).into();
        self.channel.queue_declare(name, passive, FieldTable::default()).await.unwrap().message_count()
    }

    async fn takes_dead_letter(&self) -> String {
        let name = dead_letter_queue(NOTIFICATION_QUEUE).as_str().into();
        let letter = self.channel.basic_get(name, BasicGetOptions::default()).await.unwrap().unwrap();
        letter.delivery.ack(BasicAckOptions::default()).await.unwrap();
        letter.delivery.properties.message_id().clone().unwrap().to_string()
    }
}

#[tokio::test]
async fn a_message_that_the_broker_delivers_five_times_is_stored_once() {
    let broker = Broker::lock().await;
    let app = TestApp::start().await;
    let id = Uuid::new_v4();
    for _ in 0..5 {
        broker.publishes(id, Message::BookingConfirmed(booking(1, 1))).await;
    }
    broker.publishes(Uuid::new_v4(), Message::BookingConfirmed(booking(1, 2))).await;

    app.start_consumer();

    wait_until("both notifications are stored", async || app.listed(1).await.len() == 2).await;
    let mut bookings = app.listed(1).await;
    bookings.sort_unstable();
    assert_eq!(bookings, [1, 2]);
    app.end().await;
}

#[tokio::test]
async fn a_poison_message_becomes_a_dead_letter_and_the_next_message_is_handled() {
    let broker = Broker::lock().await;
    let app = TestApp::start().await;
    app.start_consumer();
    let poison = Uuid::new_v4().to_string();

    broker.publishes_raw(EXCHANGE, "booking.confirmed", &poison, "{\"type\": \"booking.confirmed\"}").await;
    broker.publishes(Uuid::new_v4(), Message::BookingConfirmed(booking(1, 2))).await;

    wait_until("the next one is stored", async || app.listed(1).await == [2]).await;
    wait_until("there is a dead letter", async || broker.dead_letters().await == 1).await;
    assert_eq!(broker.takes_dead_letter().await, poison);
    app.end().await;
}

#[tokio::test]
async fn a_message_without_an_id_becomes_a_dead_letter() {
    let broker = Broker::lock().await;
    let app = TestApp::start().await;
    app.start_consumer();
    let confirmed = serde_json::to_string(&Message::BookingConfirmed(booking(1, 1))).unwrap();

    broker.publishes_raw(EXCHANGE, "booking.confirmed", "no-uuid", &confirmed).await;

    wait_until("it is a dead letter", async || broker.dead_letters().await == 1).await;
    assert_eq!(app.listed(1).await, Vec::<i64>::new());
    app.end().await;
}

#[tokio::test]
async fn the_command_redrives_dead_letters() {
    let broker = Broker::lock().await;
    let app = TestApp::start().await;
    let letter = serde_json::to_string(&Message::BookingConfirmed(booking(1, 7))).unwrap();
    let dead = dead_letter_queue(NOTIFICATION_QUEUE);
    broker.publishes_raw("", &dead, &Uuid::new_v4().to_string(), &letter).await;
    let redrive = || {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_notification-service"))
            .arg("redrive-dead-letters")
            .env("AMQP_URL", server("TEST_AMQP_URL"))
            .env("LOG_FORMAT", "json")
            .output()
    };

    let (first, second) = (redrive().await.unwrap(), redrive().await.unwrap());

    assert_eq!(redriven(&first), [("notification".to_owned(), 1), ("notification.user".to_owned(), 0)]);
    assert_eq!(redriven(&second), [("notification".to_owned(), 0), ("notification.user".to_owned(), 0)]);
    app.start_consumer();
    wait_until("the redriven message is stored", async || app.listed(1).await == [7]).await;
    assert_eq!(broker.dead_letters().await, 0);
    app.end().await;
}

/// The queues, and how many dead letters of each were redriven, as the command logs them.
fn redriven(output: &std::process::Output) -> Vec<(String, u64)> {
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let entries = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let sums = entries.filter(|entry| entry["message"] == "dead letters redriven");
    sums.map(|entry| (entry["queue"].as_str().unwrap().to_owned(), entry["moved"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn the_consumer_pauses_while_mongodb_is_down() {
    let broker = Broker::lock().await;
    let url = server("TEST_MONGODB_URL");
    let proxy = Proxy::start(address(&url)).await;
    let through_proxy = url.replace(&address(&url), &format!("127.0.0.1:{}", proxy.port));
    let app = TestApp::with(Options { mongodb_url: through_proxy, ..Options::default() }).await;
    app.start_consumer();
    broker.publishes(Uuid::new_v4(), Message::BookingConfirmed(booking(1, 1))).await;
    wait_until("the first one is stored", async || app.listed(1).await == [1]).await;

    proxy.cut();
    for booking_id in 2..=8 {
        broker.publishes(Uuid::new_v4(), Message::BookingConfirmed(booking(1, booking_id))).await;
    }
    let (status, problem) = app.get(1, "/notifications/1").await;
    assert_eq!((status, problem["code"].as_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"));
    let result = app.handles(Uuid::new_v4(), Message::BookingConfirmed(booking(1, 9))).await;
    assert!(matches!(result, Err(Failure::Unavailable(_))), "{result:?}");
    assert_eq!(broker.dead_letters().await, 0);
    proxy.restore();

    wait_until("all are stored", async || app.listed(1).await.len() == 8).await;
    let mut bookings = app.listed(1).await;
    bookings.sort_unstable();
    assert_eq!(bookings, (1..=8).collect::<Vec<_>>());
    assert_eq!(broker.dead_letters().await, 0);
    app.end().await;
}

#[tokio::test]
async fn a_message_from_the_broker_reaches_an_open_stream_within_a_second() {
    let broker = Broker::lock().await;
    let app = TestApp::start().await;
    app.start_consumer();
    let mut stream = app.opens_stream(1).await;
    // The first notification shows that the consumer has started.
    broker.publishes(Uuid::new_v4(), Message::BookingConfirmed(booking(1, 1))).await;
    stream.next_named("notification", Duration::from_secs(20)).await;

    broker.publishes(Uuid::new_v4(), Message::BookingRefunded(booking(1, 1))).await;

    let notification = stream.next_named("notification", Duration::from_secs(1)).await;
    assert_eq!(notification.data["type"], "booking.refunded");
    app.end().await;
}

#[tokio::test]
async fn a_deletion_from_the_broker_removes_the_notifications_of_the_account() {
    let broker = Broker::lock().await;
    let app = TestApp::start().await;
    app.confirms_booking(1, 1).await;
    app.start_consumer();

    broker.publishes(Uuid::new_v4(), Message::UserDeleted(UserFact { user_id: 1, occurred_at: noon() })).await;

    wait_until("the notification is gone", async || app.listed(1).await.is_empty()).await;
    app.end().await;
}

#[tokio::test]
async fn a_replica_that_died_in_a_transaction_delays_its_user_briefly_and_no_other_user() {
    let broker = Broker::lock().await;
    let app = TestApp::with(Options { concurrency: 16, ..Options::default() }).await;
    app.confirms_booking(1, 1).await;
    let mut session = app.database.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let counters = app.database.collection::<Document>("counters");
    let increment = doc! { "$inc": { "last_seq": 1_i64, "unread": 1_i64 } };
    counters.update_one(doc! { "_id": 1 }, increment).session(&mut session).await.unwrap();
    let seen_at = bson::DateTime::from(Clock::system().now() - TimeDelta::minutes(1));
    let dead = doc! { "_id": "dead", "sessions": [session.id().clone()], "seen_at": seen_at };
    app.database.collection::<Document>("replicas").insert_one(dead).await.unwrap();
    for booking_id in 2..=9 {
        broker.publishes(Uuid::new_v4(), Message::BookingConfirmed(booking(1, booking_id))).await;
    }
    broker.publishes(Uuid::new_v4(), Message::BookingConfirmed(booking(2, 10))).await;

    // Dead replicas are not detected yet.
    app.start_consumer();
    timeout(SOON, wait_until("the other user is notified", async || app.listed(2).await == [10])).await.unwrap();
    assert_eq!(app.listed(1).await, [1]);
    app.state.store.sessions().start_heartbeat(&app.state.lifecycle);
    timeout(SOON, wait_until("the user is notified", async || app.listed(1).await.len() == 9)).await.unwrap();

    assert_eq!(broker.dead_letters().await, 0);
    assert_eq!(app.sequence_numbers(1).await, (1..=9).rev().collect::<Vec<_>>());
    app.end().await;
}

#[tokio::test]
async fn a_replica_announces_its_sessions() {
    let app = TestApp::start().await;
    app.confirms_booking(1, 1).await;
    app.confirms_booking(2, 2).await;

    let replicas = app.database.collection::<Document>("replicas");
    let records: Vec<_> = replicas.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].get_array("sessions").unwrap().len(), 1, "sequential transactions share one session");
    app.end().await;
}
