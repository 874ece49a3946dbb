//! RabbitMQ: the topology, publishing with confirms, consuming with bounded redelivery, redriving dead letters.
//!
//! Every program declares the whole topology, so that no message is unroutable because a consumer has not started yet.
//! Declarations are idempotent and the same on RabbitMQ 3.10 and 4.

mod consumer;
mod publisher;
mod redrive;
mod retry;

use std::str::FromStr;

use anyhow::Context;
use contracts::message::{DEAD_LETTER_EXCHANGE, EXCHANGE, QUEUES, Queue};
use lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
    uri::AMQPUri,
};

pub use self::{
    consumer::{Failure, Received, start_consumer},
    publisher::{MAX_BODY_BYTES, OutgoingMessage, PublishFailure, Publisher, Refusal},
    redrive::{redrive, start_counting_dead_letters},
    retry::retry_queue,
};
use crate::config::Secret;

/// Deliveries of one message before it becomes a dead letter. RabbitMQ 3.10 has no limit of its own, 4 has 20.
pub const DELIVERY_LIMIT: i32 = 20;
/// A connection that is silent for this long is dead, in seconds.
const HEARTBEAT_SECONDS: u16 = 10;
/// The largest frame, in bytes; larger bodies take several. The client keeps 64 frames per connection in memory, 8 MiB
/// with RabbitMQ's default of 128 KiB.
const FRAME_MAX: u32 = 16 * 1024;
/// The longest wait for a connection, a channel or a declaration.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// How to reach RabbitMQ. Cheap to clone; connects nowhere by itself.
#[derive(Clone, Debug)]
pub struct Bus {
    uri: AMQPUri,
    name: String,
}

impl Bus {
    /// RabbitMQ at `url`; the connections are called `name` in its management pages.
    pub fn new(url: &Secret, name: &str) -> anyhow::Result<Self> {
        let mut uri = AMQPUri::from_str(url.expose()).map_err(anyhow::Error::msg).context("AMQP_URL does not parse")?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        Ok(Self { uri, name: name.to_owned() })
    }

    /// A new connection and a channel on it, with the topology declared.
    async fn open(&self) -> anyhow::Result<(Connection, Channel)> {
        let opening = async {
            let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
            let connection = Connection::connect_uri(self.uri.clone(), properties).await?;
            let channel = connection.create_channel().await?;
            declare_topology(&channel).await?;
            anyhow::Ok((connection, channel))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, opening).await.context("RabbitMQ does not answer")?
    }
}

/// The dead-letter queue of a queue.
pub fn dead_letter_queue(queue: Queue) -> String {
    format!("{}.dead", queue.name)
}

async fn declare_topology(channel: &Channel) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    for exchange in [EXCHANGE, DEAD_LETTER_EXCHANGE] {
        channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
    }
    for queue in QUEUES {
        declare_queue(channel, queue).await?;
    }
    Ok(())
}

async fn declare_queue(channel: &Channel, queue: Queue) -> lapin::Result<()> {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let dead = dead_letter_queue(queue);
    channel.queue_declare(dead.as_str().into(), durable, quorum()).await?;
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(dead.as_str().into(), DEAD_LETTER_EXCHANGE.into(), queue.name.into(), bind, FieldTable::default())
        .await?;

    let mut arguments = quorum();
    let mut set = |key: &str, value| {
        arguments.insert(key.into(), value);
    };
    set("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT));
    set("x-dead-letter-exchange", AMQPValue::LongString(DEAD_LETTER_EXCHANGE.into()));
    set("x-dead-letter-routing-key", AMQPValue::LongString(queue.name.into()));
    // At-least-once dead-lettering needs this overflow behaviour.
    set("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into()));
    set("x-overflow", AMQPValue::LongString("reject-publish".into()));
    channel.queue_declare(queue.name.into(), durable, arguments).await?;
    for pattern in queue.bindings {
        channel.queue_bind(queue.name.into(), EXCHANGE.into(), (*pattern).into(), bind, FieldTable::default()).await?;
    }
    Ok(())
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}
