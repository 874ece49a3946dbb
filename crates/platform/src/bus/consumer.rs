//! Consuming: acknowledged after the work is committed, dead-lettered when it never can be.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::anyhow;
use contracts::message::{Message, Queue};
use futures::StreamExt;
use lapin::{
    Connection, ErrorKind,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions},
    protocol::AMQPErrorKind,
    types::{AMQPValue, FieldTable},
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    Bus,
    retry::{MAX_DEFERRAL, RetryQueue, deferred_since},
};
use crate::{
    Clock, Lifecycle,
    retry::Backoff,
    task::{Progress, supervise},
    trace::{self, RequestContext, TRACEPARENT},
};

/// The first pause between attempts, and between connections.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest wait to close a connection that may be dead.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The pauses after failures.
const BACKOFF: Backoff = Backoff::new(PAUSE, Duration::from_secs(5));
/// How often a consumer without messages reports that it is connected.
const CONNECTED_EVERY: Duration = Duration::from_secs(15);

/// A message as a handler gets it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Names the single occurrence: the same id means the same message again.
    pub id: Uuid,
    /// The fact.
    pub message: Message,
}

/// Why a message could not be handled.
#[derive(Debug)]
pub enum Failure {
    /// A dependency is unavailable: the consumer waits and retries, and takes no further messages meanwhile.
    Unavailable(anyhow::Error),
    /// The attempt failed: the message is delivered again, a bounded number of times.
    Failed(anyhow::Error),
    /// No attempt can succeed: the message becomes a dead letter at once.
    Poison(anyhow::Error),
    /// This version does not know the message's type. Other replicas get it; after ten minutes it becomes a dead
    /// letter.
    Unsupported(anyhow::Error),
}

/// Starts to hand the messages of `queue` to `handler`, up to `concurrency` at a time; ends with `lifecycle`. Reconnects
/// by itself.
///
/// Every call of the handler is a task of its own that runs to its end, also when the connection breaks meanwhile: its
/// database work is never dropped midway. The message is then delivered again, so handlers are idempotent.
pub fn start_consumer<H, Fut>(lifecycle: &Lifecycle, bus: Bus, queue: Queue, concurrency: u16, handler: H)
where
    H: Fn(Received) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let consumer = Arc::new(Consumer { bus, queue, concurrency, stop: lifecycle.stopping(), handler });
    supervise(lifecycle, queue.consumer, move |progress| {
        let consumer = consumer.clone();
        async move { consumer.run(&progress).await }
    });
}

struct Consumer<H> {
    bus: Bus,
    queue: Queue,
    concurrency: u16,
    stop: CancellationToken,
    handler: H,
}

impl<H, Fut> Consumer<H>
where
    H: Fn(Received) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    async fn run(&self, progress: &Progress) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            match self.consume_until_broken(progress).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    progress.failed(&error.context("the consumer is not connected"));
                    failures += 1;
                }
            }
            let pause = BACKOFF.after(failures);
            tokio::select! { () = self.stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
        }
    }

    async fn consume_until_broken(&self, progress: &Progress) -> anyhow::Result<()> {
        let Self { bus, queue, concurrency, stop, handler } = self;
        let (connection, channel) = bus.open().await?;
        channel.basic_qos(*concurrency, BasicQosOptions::default()).await?;
        let deliveries = channel
            .basic_consume(queue.name.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await?;
        tracing::info!(queue = queue.name, "consuming");
        let retry_queue = RetryQueue::new(&connection, *queue);
        let retry_queue = &retry_queue;
        let mut broken = deliveries
            .take_until(stop.cancelled())
            .map(|delivery| async move { handle(delivery?, retry_queue, *queue, stop, handler).await })
            .buffer_unordered(usize::from(*concurrency))
            .filter_map(|result: anyhow::Result<()>| std::future::ready(result.err()))
            .boxed();
        let broken = tokio::select! {
            broken = broken.next() => broken,
            () = report_while_connected(&connection, progress) => None,
        };
        tokio::time::timeout(CLOSE_TIMEOUT, connection.close(200, "done".into())).await.ok();
        broken.map_or(Ok(()), Err)
    }
}

/// Never ends: a consumer learns from its message stream that the connection broke.
async fn report_while_connected(connection: &Connection, progress: &Progress) {
    let mut ticks = tokio::time::interval(CONNECTED_EVERY);
    loop {
        ticks.tick().await;
        if connection.status().connected() {
            progress.succeeded();
        }
    }
}

async fn handle<H, Fut>(
    delivery: Delivery,
    retry_queue: &RetryQueue<'_>,
    queue: Queue,
    stop: &CancellationToken,
    handler: &H,
) -> anyhow::Result<()>
where
    H: Fn(Received) -> Fut,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let context = RequestContext::from_headers(None, traceparent(&delivery).as_deref());
    let message_id = delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
    crate::failpoint!("bus.received");
    let span = tracing::info_span!("message", queue = queue.name, message_id, trace_id = context.trace.trace_id());
    let outcome = context.scope(attempt(&delivery, &message_id, stop, handler)).instrument(span).await;
    let outcome = match outcome {
        Some(Err(Failure::Unsupported(error))) => defer(&delivery, &message_id, retry_queue, error).await?,
        outcome => outcome.map(|result| result.map(|()| "handled")),
    };
    let label = match &outcome {
        Some(Ok(label)) => label,
        Some(Err(Failure::Poison(_) | Failure::Unsupported(_))) => "dead_lettered",
        Some(Err(_)) => "failed",
        None => "returned",
    };
    metrics::counter!("eventplatform_messages_total", "queue" => queue.name, "outcome" => label).increment(1);
    match outcome {
        Some(Ok(_)) => {
            crate::failpoint!("bus.handled");
            delivery.ack(BasicAckOptions::default()).await?
        }
        Some(Err(Failure::Poison(error) | Failure::Unsupported(error))) => {
            tracing::error!(message_id, error = format!("{error:#}"), "message became a dead letter");
            delivery.reject(BasicRejectOptions { requeue: false }).await?
        }
        Some(Err(Failure::Failed(error) | Failure::Unavailable(error))) => {
            tracing::error!(message_id, error = format!("{error:#}"), "message failed; requeued");
            tokio::time::sleep(PAUSE).await;
            delivery.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?
        }
        None => delivery.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?,
    };
    Ok(())
}

/// Leaves a message of an unknown type to a newer replica. After ten minutes it is returned as a failure.
async fn defer(
    delivery: &Delivery,
    message_id: &str,
    retry_queue: &RetryQueue<'_>,
    error: anyhow::Error,
) -> anyhow::Result<Option<Result<&'static str, Failure>>> {
    let now = Clock::system().now();
    let since = deferred_since(delivery).unwrap_or(now);
    if now - since >= MAX_DEFERRAL {
        return Ok(Some(Err(Failure::Unsupported(error))));
    }
    match retry_queue.defer(delivery, since).await {
        Ok(()) => {
            tracing::warn!(message_id, error = format!("{error:#}"), "message deferred for a newer replica");
            Ok(Some(Ok("held_back")))
        }
        // What RabbitMQ refuses, it will refuse again; a timeout says nothing.
        Err(failed) if is_refused(&failed) => {
            Ok(Some(Err(Failure::Unsupported(error.context(format!("it cannot be deferred: {failed:#}"))))))
        }
        Err(failed) => Err(failed),
    }
}

/// Whether RabbitMQ closed the channel because of it: a missing permission, or a queue with other arguments.
fn is_refused(error: &anyhow::Error) -> bool {
    let refused = |kind: &ErrorKind| matches!(kind, ErrorKind::ProtocolError(error) if matches!(error.kind(), AMQPErrorKind::Soft(_)));
    error.chain().filter_map(|cause| cause.downcast_ref::<lapin::Error>()).any(|error| refused(error.kind()))
}

/// Retries while a dependency is unavailable; `None` if the process stops.
async fn attempt<H, Fut>(
    delivery: &Delivery,
    message_id: &str,
    stop: &CancellationToken,
    handler: &H,
) -> Option<Result<(), Failure>>
where
    H: Fn(Received) -> Fut,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let received = match parse(delivery, message_id) {
        Ok(received) => received,
        Err(failure) => return Some(Err(failure)),
    };
    let mut pauses = BACKOFF.pauses();
    loop {
        let outcome = match trace::spawn(handler(received.clone())).await {
            Ok(outcome) => outcome,
            Err(panicked) => Err(Failure::Failed(panicked.into())),
        };
        match outcome {
            Err(Failure::Unavailable(error)) => {
                tracing::warn!(error = format!("{error:#}"), "waiting for a dependency");
                let pause = pauses.next().unwrap_or_default();
                tokio::select! { () = stop.cancelled() => return None, () = tokio::time::sleep(pause) => {} }
            }
            outcome => return Some(outcome),
        }
    }
}

fn parse(delivery: &Delivery, message_id: &str) -> Result<Received, Failure> {
    let id = message_id.parse();
    let id = id.map_err(|_| Failure::Poison(anyhow!("message_id {message_id:?} is not a UUID")))?;
    match serde_json::from_slice(&delivery.data) {
        Ok(message) => Ok(Received { id, message }),
        Err(error) => Err(match unknown_type(&delivery.data) {
            Some(kind) => Failure::Unsupported(anyhow!("this version does not know messages of type {kind:?}")),
            None => Failure::Poison(error.into()),
        }),
    }
}

/// The `type` of a body, if this version does not know it.
fn unknown_type(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    let Typed { r#type } = serde_json::from_slice(body).ok()?;
    (!Message::TYPES.contains(&r#type.as_str())).then_some(r#type)
}

fn traceparent(delivery: &Delivery) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(TRACEPARENT)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}
