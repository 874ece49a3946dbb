//! Publishing: persistent, mandatory, confirmed. A message counts as published only on a clean confirm.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use contracts::message::EXCHANGE;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{Bus, declare_topology};
use crate::{outbox::OutboxMessage, trace::TRACEPARENT};

/// The longest wait for the confirms of one call; RabbitMQ withholds them under a memory or disk alarm. Shorter than
/// the lease of an outbox row.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes to the platform's exchange over one connection, made anew when it breaks. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    bus: Bus,
    open: Arc<Mutex<Option<(Connection, Channel)>>>,
}

impl Publisher {
    /// A publisher that connects at its first message.
    pub fn new(bus: Bus) -> Self {
        Self { bus, open: Arc::default() }
    }

    /// Publishes all and waits for their confirms; one result per message, in order.
    pub async fn publish_all(&self, messages: &[OutboxMessage]) -> Vec<anyhow::Result<()>> {
        let mut open = self.open.lock().await;
        let channel = match self.channel(&mut open).await {
            Ok(channel) => channel,
            Err(error) => {
                let reason = format!("{error:#}");
                return messages.iter().map(|_| Err(anyhow!(reason.clone()))).collect();
            }
        };
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        let mut pending = Vec::with_capacity(messages.len());
        for message in messages {
            pending.push(send(&channel, message, deadline).await);
        }
        crate::failpoint!("bus.sent");
        if crate::guard_removed!("bus.publisher_confirms") {
            return messages.iter().map(|_| Ok(())).collect();
        }
        let mut results = Vec::with_capacity(messages.len());
        for confirm in pending {
            results.push(match confirm {
                Ok(confirm) => settle(confirm, deadline).await,
                Err(error) => Err(error),
            });
        }
        if results.iter().any(Result::is_err) {
            // Whatever went wrong, a new connection declares the topology again and starts clean.
            *open = None;
        }
        results
    }

    /// Whether RabbitMQ answers: opens the connection if there is none and repeats a declaration.
    pub async fn ping(&self) -> Result<(), String> {
        let mut open = self.open.lock().await;
        let alive = async { anyhow::Ok(declare_topology(&self.channel(&mut open).await?).await?) }.await;
        alive.map_err(|error| {
            *open = None;
            format!("{error:#}")
        })
    }

    async fn channel(&self, open: &mut Option<(Connection, Channel)>) -> anyhow::Result<Channel> {
        if let Some((connection, channel)) = open
            && connection.status().connected()
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let (connection, channel) = self.bus.open().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        *open = Some((connection, channel.clone()));
        Ok(channel)
    }
}

async fn send(channel: &Channel, row: &OutboxMessage, deadline: Instant) -> anyhow::Result<PublisherConfirm> {
    let payload = serde_json::to_vec(&row.message)?;
    let mut headers = FieldTable::default();
    if let Some(traceparent) = &row.traceparent {
        headers.insert(TRACEPARENT.into(), AMQPValue::LongString(traceparent.as_str().into()));
    }
    let properties = BasicProperties::default()
        .with_message_id(row.id.to_string().into())
        .with_content_type("application/json".into())
        .with_type(row.message.routing_key().into())
        .with_timestamp(u64::try_from(row.created_at.timestamp()).unwrap_or(0))
        .with_delivery_mode(2)
        .with_headers(headers);
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let key = row.message.routing_key().into();
    let sending = channel.basic_publish(EXCHANGE.into(), key, mandatory, &payload, properties);
    Ok(timeout_at(deadline, sending).await.context("RabbitMQ takes no messages")??)
}

async fn settle(confirm: PublisherConfirm, deadline: Instant) -> anyhow::Result<()> {
    match timeout_at(deadline, confirm).await.context("RabbitMQ did not confirm in time")?? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) => bail!("no queue took the message: {}", returned.reply_text),
        Confirmation::Nack(_) => bail!("RabbitMQ refused the message"),
        Confirmation::NotRequested => bail!("the channel lost its confirm mode"),
    }
}
