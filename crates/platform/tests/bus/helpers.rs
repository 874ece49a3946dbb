//! The broker for one test alone, messages, and a proxy that cuts and stalls.

use std::{
    future::Future,
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use contracts::message::{BOOKING_QUEUE, EventFact, Message, Queue};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions},
    types::FieldTable,
};
use platform::{
    Lifecycle,
    bus::{Bus, Failure, Publisher, Received, dead_letter_queue, retry_queue, start_consumer},
    config::Secret,
    outbox::OutboxMessage,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Mutex, MutexGuard, watch},
    time::timeout,
};
use uuid::Uuid;

/// The queue that these tests use.
pub(crate) const QUEUE: Queue = BOOKING_QUEUE;
const PATIENCE: Duration = Duration::from_secs(40);
static TURN: Mutex<()> = Mutex::const_new(());

pub(crate) fn url() -> String {
    std::env::var("TEST_AMQP_URL").expect("TEST_AMQP_URL is not set; run: make test")
}

pub(crate) fn bus_at(url: &str) -> Bus {
    Bus::new(&Secret::new(url), "test").unwrap()
}

/// RabbitMQ with empty queues, for one test alone.
pub(crate) struct Broker {
    pub(crate) publisher: Publisher,
    pub(crate) channel: Channel,
    _connection: Connection,
    _turn: MutexGuard<'static, ()>,
}

impl Broker {
    pub(crate) async fn alone() -> Self {
        let turn = TURN.lock().await;
        let publisher = Publisher::new(bus_at(&url()));
        publisher.ping().await.unwrap();
        let connection = Connection::connect(&url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        for queue in [QUEUE.name.to_owned(), dead_letter_queue(QUEUE)] {
            channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap();
        }
        channel.queue_delete(retry_queue(QUEUE).into(), QueueDeleteOptions::default()).await.unwrap();
        Self { publisher, channel, _connection: connection, _turn: turn }
    }

    /// Publishes a message as the relay does; gives its id.
    pub(crate) async fn publishes(&self) -> Uuid {
        let row = row();
        self.publisher.publish_all(&[row.clone().into()]).await.remove(0).unwrap();
        row.id
    }

    /// Puts bytes into the queue.
    pub(crate) async fn publishes_raw(&self, id: &str, body: &str) {
        self.publishes_with(id, body, FieldTable::default()).await;
    }

    pub(crate) async fn publishes_with(&self, id: &str, body: &str, headers: FieldTable) {
        let properties =
            BasicProperties::default().with_message_id(id.into()).with_delivery_mode(2).with_headers(headers);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let publishing = self.channel.basic_publish("".into(), QUEUE.name.into(), options, body.as_bytes(), properties);
        publishing.await.unwrap().await.unwrap();
    }

    /// How many messages wait in a queue.
    pub(crate) async fn waiting(&self, queue: String) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap().message_count()
    }

    pub(crate) async fn dead_letters(&self) -> u32 {
        self.waiting(dead_letter_queue(QUEUE)).await
    }
}

pub(crate) fn row() -> OutboxMessage {
    let fact = EventFact {
        event_id: "e1".to_owned(),
        title: "Jazz Night".to_owned(),
        venue: "Blue Hall".to_owned(),
        starts_at: DateTime::UNIX_EPOCH,
        ends_at: DateTime::UNIX_EPOCH,
        time_zone: "Europe/Berlin".to_owned(),
        changed: Vec::new(),
        version: 1,
        edited_version: None,
        unannounced: false,
        occurred_at: DateTime::UNIX_EPOCH,
    };
    let created_at = DateTime::<Utc>::UNIX_EPOCH;
    OutboxMessage { id: Uuid::new_v4(), message: Message::EventCancelled(fact), traceparent: None, created_at }
}

/// A running consumer, and what it was handed so far.
pub(crate) struct TestConsumer {
    pub(crate) handed: Arc<StdMutex<Vec<Uuid>>>,
    lifecycle: Lifecycle,
}

impl TestConsumer {
    /// Consumes with `outcome`, which is told how often a message was handed over before.
    pub(crate) fn start<F, Fut>(bus: Bus, concurrency: u16, outcome: F) -> Self
    where
        F: Fn(Received, usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let lifecycle = Lifecycle::new();
        let handed = Arc::<StdMutex<Vec<Uuid>>>::default();
        let log = handed.clone();
        let handler = move |received: Received| {
            let before = {
                let mut log = log.lock().unwrap();
                let before = log.iter().filter(|id| **id == received.id).count();
                log.push(received.id);
                before
            };
            outcome(received, before)
        };
        start_consumer(&lifecycle, bus, QUEUE, concurrency, handler);
        Self { handed, lifecycle }
    }

    pub(crate) fn times(&self, id: Uuid) -> usize {
        self.handed.lock().unwrap().iter().filter(|one| **one == id).count()
    }

    pub(crate) async fn stop(self) {
        self.lifecycle.stop();
        assert!(self.lifecycle.finish_tasks(PATIENCE).await, "the consumer does not stop");
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    Open,
    Cut,
    Stalled,
}

/// A TCP proxy in front of RabbitMQ.
pub(crate) struct Proxy {
    line: watch::Sender<Line>,
    url: String,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = url().rsplit_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        let own = listener.local_addr().unwrap().to_string();
        let (line, state) = watch::channel(Line::Open);
        let target = server.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, target.clone(), state.clone()));
            }
        });
        Self { line, url: url().replace(&server, &own) }
    }

    pub(crate) fn bus(&self) -> Bus {
        bus_at(&self.url)
    }

    /// Ends all connections and takes no new ones.
    pub(crate) fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Keeps all connections open and passes nothing on.
    pub(crate) fn stall(&self) {
        self.line.send_replace(Line::Stalled);
    }

    pub(crate) fn mend(&self) {
        self.line.send_replace(Line::Open);
    }
}

async fn relay(mut client: TcpStream, server: String, mut line: watch::Receiver<Line>) {
    if *line.borrow() == Line::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let ended = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => true,
        line = line.wait_for(|line| *line != Line::Open) => line.is_err(),
    };
    if !ended && *line.borrow() == Line::Stalled {
        line.wait_for(|line| *line != Line::Stalled).await.ok();
    }
}
