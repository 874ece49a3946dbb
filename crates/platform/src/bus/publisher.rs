//! Publishing: persistent, mandatory, confirmed. A message counts as published only on a clean confirm.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};
use contracts::message::EXCHANGE;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ErrorKind, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    protocol::AMQPErrorKind,
    types::{AMQPValue, FieldTable},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{Bus, declare_topology};
use crate::trace::TRACEPARENT;

/// The longest that one call takes; RabbitMQ withholds confirms under a memory or disk alarm. Shorter than the lease of
/// an outbox row.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest body that is published, in bytes. RabbitMQ 4 takes 16 MiB unless told otherwise.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The longest routing key or message id, in bytes: AMQP's short strings.
const MAX_SHORT_STRING: usize = 255;

/// A message as it is stored, to be published.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingMessage<'a> {
    /// Becomes the AMQP `message_id`, by which consumers recognize duplicates.
    pub message_id: &'a str,
    /// The topic to publish to; without one the message is refused.
    pub routing_key: Option<&'a str>,
    /// JSON; `None` if it is larger than [`MAX_BODY_BYTES`], which is refused.
    pub body: Option<&'a [u8]>,
    /// The trace in which the message was written.
    pub traceparent: Option<&'a str>,
    /// When the message was written.
    pub created_at: DateTime<Utc>,
}

/// Why a message was not published.
#[derive(Debug)]
pub enum PublishFailure {
    /// RabbitMQ is unavailable, or did not answer in time. This says nothing about the message.
    Unavailable(anyhow::Error),
    /// This message cannot be published as it is; others may be fine.
    Refused(Refusal),
}

/// What is wrong with a message that cannot be published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It has no routing key that AMQP can carry.
    NoRoutingKey,
    /// Its body or its id is too large.
    TooLarge,
    /// No queue is bound to its routing key.
    Unroutable(String),
    /// RabbitMQ refused it without a reason, for example because a queue is full.
    Nacked,
    /// RabbitMQ closed the channel because of it.
    ChannelClosed(String),
}

impl Refusal {
    /// The label for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoRoutingKey => "no_routing_key",
            Self::TooLarge => "too_large",
            Self::Unroutable(_) => "unroutable",
            Self::Nacked => "nacked",
            Self::ChannelClosed(_) => "channel_closed",
        }
    }

    /// Whether we know this without asking RabbitMQ.
    pub fn is_unusable(&self) -> bool {
        matches!(self, Self::NoRoutingKey | Self::TooLarge)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoutingKey => f.write_str("it has no usable routing key"),
            Self::TooLarge => f.write_str("it is too large"),
            Self::Unroutable(reply) => write!(f, "no queue took the message: {reply}"),
            Self::Nacked => f.write_str("RabbitMQ refused the message"),
            Self::ChannelClosed(reply) => write!(f, "RabbitMQ closed the channel: {reply}"),
        }
    }
}

/// Publishes to the platform's exchange over one connection, made anew when it breaks. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    bus: Bus,
    open: Arc<Mutex<Option<(Connection, Channel)>>>,
}

type Open = Option<(Connection, Channel)>;

impl Publisher {
    /// A publisher that connects at its first message.
    pub fn new(bus: Bus) -> Self {
        Self { bus, open: Arc::default() }
    }

    /// Publishes all and waits for their confirms; one result per message, in order.
    pub async fn publish_all<'a, M>(&self, messages: &'a [M]) -> Vec<Result<(), PublishFailure>>
    where
        OutgoingMessage<'a>: From<&'a M>,
    {
        let envelopes: Vec<_> = messages.iter().map(|message| Envelope::new(message.into())).collect();
        let usable: Vec<&Envelope> = envelopes.iter().flatten().collect();
        let mut results = self.publish(&usable).await.into_iter();
        let result = |envelope: &Result<Envelope, Refusal>| match envelope {
            Ok(_) => results.next().expect("a result for each"),
            Err(refusal) => Err(PublishFailure::Refused(refusal.clone())),
        };
        envelopes.iter().map(result).collect()
    }

    async fn publish(&self, envelopes: &[&Envelope<'_>]) -> Vec<Result<(), PublishFailure>> {
        let mut open = self.open.lock().await;
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        let mut results = self.publish_together(&mut open, envelopes, deadline).await;
        if envelopes.len() > 1 && results.iter().any(closed_the_channel) {
            // RabbitMQ closed the channel for the whole batch without naming a message, so each is tried on its own.
            for (envelope, result) in envelopes.iter().zip(&mut results) {
                if closed_the_channel(result) || matches!(result, Err(PublishFailure::Unavailable(_))) {
                    *result = self.publish_together(&mut open, &[envelope], deadline).await.remove(0);
                }
            }
        }
        if results.iter().any(|result| matches!(result, Err(PublishFailure::Refused(Refusal::Unroutable(_))))) {
            // A queue or a binding may have been removed.
            self.declare(&mut open, deadline).await.ok();
        }
        results
    }

    async fn publish_together(
        &self,
        open: &mut Open,
        envelopes: &[&Envelope<'_>],
        deadline: Instant,
    ) -> Vec<Result<(), PublishFailure>> {
        let channel = match self.channel(open, deadline).await {
            Ok(channel) => channel,
            Err(error) => {
                let reason = format!("{error:#}");
                return envelopes.iter().map(|_| Err(PublishFailure::Unavailable(anyhow!(reason.clone())))).collect();
            }
        };
        let mut pending = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            pending.push(send(&channel, envelope, deadline).await);
        }
        crate::failpoint!("bus.sent");
        let mut results = Vec::with_capacity(pending.len());
        for confirm in pending {
            results.push(match confirm {
                Ok(confirm) => wait_for_confirm(confirm, deadline).await,
                Err(failure) => Err(failure),
            });
        }
        let broken = |result| closed_the_channel(result) || matches!(result, Err(PublishFailure::Unavailable(_)));
        if results.iter().any(broken) {
            // Whatever went wrong, a new connection declares the topology again and starts clean.
            *open = None;
        }
        results
    }

    /// Whether RabbitMQ answers: opens the connection if there is none and repeats a declaration.
    pub async fn ping(&self) -> Result<(), String> {
        let mut open = self.open.lock().await;
        let alive = self.declare(&mut open, Instant::now() + CONFIRM_TIMEOUT).await;
        alive.map_err(|error| format!("{error:#}"))
    }

    /// Declares the topology once more; closes the connection if that fails.
    async fn declare(&self, open: &mut Open, deadline: Instant) -> anyhow::Result<()> {
        let declaring = async { anyhow::Ok(declare_topology(&self.channel(open, deadline).await?).await?) };
        let declared = timeout_at(deadline, declaring).await.context("RabbitMQ does not answer").flatten();
        if declared.is_err() {
            *open = None;
        }
        declared
    }

    async fn channel(&self, open: &mut Open, deadline: Instant) -> anyhow::Result<Channel> {
        if let Some((connection, channel)) = open
            && connection.status().connected()
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let opening = async {
            let (connection, channel) = self.bus.open().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            anyhow::Ok((connection, channel))
        };
        let (connection, channel) = timeout_at(deadline, opening).await.context("RabbitMQ does not answer")??;
        *open = Some((connection, channel.clone()));
        Ok(channel)
    }
}

/// A message as AMQP carries it.
struct Envelope<'a> {
    routing_key: &'a str,
    body: &'a [u8],
    properties: BasicProperties,
}

impl<'a> Envelope<'a> {
    fn new(message: OutgoingMessage<'a>) -> Result<Self, Refusal> {
        let routing_key = message.routing_key.filter(|key| (1..=MAX_SHORT_STRING).contains(&key.len()));
        let routing_key = routing_key.ok_or(Refusal::NoRoutingKey)?;
        let body = message.body.filter(|body| body.len() <= MAX_BODY_BYTES).ok_or(Refusal::TooLarge)?;
        if message.message_id.len() > MAX_SHORT_STRING {
            return Err(Refusal::TooLarge);
        }
        let mut headers = FieldTable::default();
        if let Some(traceparent) = message.traceparent {
            headers.insert(TRACEPARENT.into(), AMQPValue::LongString(traceparent.into()));
        }
        let properties = BasicProperties::default()
            .with_message_id(message.message_id.into())
            .with_content_type("application/json".into())
            .with_type(routing_key.into())
            .with_timestamp(u64::try_from(message.created_at.timestamp()).unwrap_or(0))
            .with_delivery_mode(2)
            .with_headers(headers);
        Ok(Self { routing_key, body, properties })
    }
}

async fn send(
    channel: &Channel,
    envelope: &Envelope<'_>,
    deadline: Instant,
) -> Result<PublisherConfirm, PublishFailure> {
    let Envelope { routing_key, body, properties } = envelope;
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sending = channel.basic_publish(EXCHANGE.into(), (*routing_key).into(), mandatory, body, properties.clone());
    match timeout_at(deadline, sending).await {
        Ok(sent) => sent.map_err(failure),
        Err(_) => Err(PublishFailure::Unavailable(anyhow!("RabbitMQ accepts no messages"))),
    }
}

async fn wait_for_confirm(confirm: PublisherConfirm, deadline: Instant) -> Result<(), PublishFailure> {
    let Ok(confirmed) = timeout_at(deadline, confirm).await else {
        return Err(PublishFailure::Unavailable(anyhow!("RabbitMQ did not confirm in time")));
    };
    match confirmed.map_err(failure)? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(returned)) => {
            Err(PublishFailure::Refused(Refusal::Unroutable(returned.reply_text.to_string())))
        }
        Confirmation::Nack(_) => Err(PublishFailure::Refused(Refusal::Nacked)),
        Confirmation::NotRequested => Err(PublishFailure::Unavailable(anyhow!("the channel lost its confirm mode"))),
    }
}

/// RabbitMQ closes a channel because of what was sent on it, and a connection for other reasons.
fn failure(error: lapin::Error) -> PublishFailure {
    match error.kind() {
        ErrorKind::ProtocolError(closed) if matches!(closed.kind(), AMQPErrorKind::Soft(_)) => {
            PublishFailure::Refused(Refusal::ChannelClosed(closed.to_string()))
        }
        _ => PublishFailure::Unavailable(error.into()),
    }
}

fn closed_the_channel(result: &Result<(), PublishFailure>) -> bool {
    matches!(result, Err(PublishFailure::Refused(Refusal::ChannelClosed(_))))
}
