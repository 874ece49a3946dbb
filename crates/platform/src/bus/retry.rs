//! Defers messages of a type that this version does not know, because a newer replica may be starting.
//!
//! They wait in the queue `<queue>.retry`. RabbitMQ moves them back into their queue after some seconds, until a
//! replica that knows the type handles them. This does not count against the delivery limit. The queue is declared when
//! it is first needed, so that everything else works without the permission to declare it.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::message::{DEAD_LETTER_EXCHANGE, Queue};
use lapin::{
    Channel, Confirmation, Connection,
    message::Delivery,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::sync::Mutex;

use super::quorum;
use crate::trace::TRACEPARENT;

/// How long a message waits before it is delivered again.
const PAUSE_MS: i32 = 5_000;
/// How long a message is deferred in total; then it becomes a dead letter.
pub(super) const MAX_DEFERRAL: TimeDelta = TimeDelta::minutes(10);
/// The longest wait for an answer of RabbitMQ.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Header: when the message was first deferred, in milliseconds since 1970.
const DEFERRED_SINCE: &str = "x-held-since";

/// The queue of deferred messages of `queue`.
pub fn retry_queue(queue: Queue) -> String {
    format!("{}.retry", queue.name)
}

/// When the message was first deferred, if it was.
pub(super) fn deferred_since(delivery: &Delivery) -> Option<DateTime<Utc>> {
    match delivery.properties.headers().as_ref()?.inner().get(DEFERRED_SINCE)? {
        AMQPValue::LongLongInt(millis) => DateTime::from_timestamp_millis(*millis),
        _ => None,
    }
}

/// Defers messages of one queue, over one connection.
pub(super) struct RetryQueue<'a> {
    connection: &'a Connection,
    queue: Queue,
    channel: Mutex<Option<Channel>>,
}

impl<'a> RetryQueue<'a> {
    pub(super) fn new(connection: &'a Connection, queue: Queue) -> Self {
        Self { connection, queue, channel: Mutex::default() }
    }

    /// Stores a copy that is delivered later. The message itself is the caller's to acknowledge.
    pub(super) async fn defer(&self, delivery: &Delivery, since: DateTime<Utc>) -> anyhow::Result<()> {
        let deferring = async {
            let mut open = self.channel.lock().await;
            let channel = match open.take().filter(|channel| channel.status().connected()) {
                Some(channel) => channel,
                None => self.open().await?,
            };
            // Only the trace header is copied: the others record earlier stays in this queue.
            let mut headers = FieldTable::default();
            headers.insert(DEFERRED_SINCE.into(), AMQPValue::LongLongInt(since.timestamp_millis()));
            let old = delivery.properties.headers().as_ref();
            if let Some(traceparent) = old.and_then(|old| old.inner().get(TRACEPARENT)) {
                headers.insert(TRACEPARENT.into(), traceparent.clone());
            }
            let properties = delivery.properties.clone().with_headers(headers).with_delivery_mode(2);
            let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let key = retry_queue(self.queue);
            let publishing =
                channel.basic_publish(DEAD_LETTER_EXCHANGE.into(), key.into(), mandatory, &delivery.data, properties);
            let confirm = publishing.await?.await?;
            *open = Some(channel);
            ensure!(matches!(confirm, Confirmation::Ack(None)), "{} did not take the message", retry_queue(self.queue));
            Ok(())
        };
        tokio::time::timeout(ANSWER_TIMEOUT, deferring).await.context("RabbitMQ does not answer")?
    }

    /// A separate channel: if RabbitMQ closes it, no deliveries are lost with it.
    async fn open(&self) -> anyhow::Result<Channel> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (retry, back) = (retry_queue(self.queue), bind_back(&channel, self.queue).await?);
        let mut arguments = quorum();
        let mut set = |key: &str, value| {
            arguments.insert(key.into(), value);
        };
        set("x-message-ttl", AMQPValue::LongInt(PAUSE_MS));
        set("x-dead-letter-exchange", AMQPValue::LongString(DEAD_LETTER_EXCHANGE.into()));
        set("x-dead-letter-routing-key", AMQPValue::LongString(back.as_str().into()));
        set("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into()));
        set("x-overflow", AMQPValue::LongString("reject-publish".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(retry.as_str().into(), durable, arguments).await?;
        let (bind, key) = (QueueBindOptions::default(), retry.as_str().into());
        let none = FieldTable::default();
        channel.queue_bind(retry.as_str().into(), DEAD_LETTER_EXCHANGE.into(), key, bind, none).await?;
        Ok(channel)
    }
}

/// Binds a queue to the dead-letter exchange, and returns the key by which messages come back to the queue from there.
/// The default exchange would do, but the programs have no permission for it.
pub(super) async fn bind_back(channel: &Channel, queue: Queue) -> lapin::Result<String> {
    let (key, bind) = (format!("{}.back", queue.name), QueueBindOptions::default());
    let (name, none) = (queue.name.into(), FieldTable::default());
    channel.queue_bind(name, DEAD_LETTER_EXCHANGE.into(), key.as_str().into(), bind, none).await?;
    Ok(key)
}
