//! Redriving dead letters to their queue after their cause is fixed; and counting them.

use std::time::Duration;

use anyhow::{Context, ensure};
use contracts::message::{DEAD_LETTER_EXCHANGE, Queue};
use lapin::{
    Channel, Confirmation, Connection,
    message::Delivery,
    options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use tokio_util::sync::CancellationToken;

use super::{Bus, dead_letter_queue, retry::bind_back};
use crate::{
    Lifecycle,
    task::{Progress, supervise},
    telemetry::mark_gauges_updated,
    trace::TRACEPARENT,
};

/// The longest wait for one of RabbitMQ's answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the dead letters are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Moves the dead letters that wait now back to `queue`; returns how many.
///
/// Each is published to the queue and confirmed before it leaves the dead-letter queue, so an interruption at worst
/// delivers one twice. Those that fail again come back as dead letters, and are not taken twice in one run.
pub async fn redrive(bus: &Bus, queue: Queue) -> anyhow::Result<u32> {
    let (connection, channel) = bus.open().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let back = answer(bind_back(&channel, queue)).await?;
    let dead = dead_letter_queue(queue);
    let mut moved = 0;
    let mut remaining = 1;
    while remaining > 0 {
        let getting = channel.basic_get(dead.as_str().into(), BasicGetOptions::default());
        let Some(letter) = answer(getting).await? else { break };
        if moved == 0 {
            remaining = letter.message_count + 1;
        }
        answer(republish(&channel, queue, &back, &letter.delivery)).await?;
        moved += 1;
        remaining -= 1;
        tracing::info!(queue = queue.name, moved, remaining, "dead letter redriven");
    }
    answer(connection.close(200, "done".into())).await.ok();
    Ok(moved)
}

async fn republish(channel: &Channel, queue: Queue, back: &str, letter: &Delivery) -> anyhow::Result<()> {
    // Of the headers only the trace goes along: the rest tells of the death.
    let mut headers = FieldTable::default();
    if let Some(traceparent) = letter.properties.headers().as_ref().and_then(|old| old.inner().get(TRACEPARENT)) {
        headers.insert(TRACEPARENT.into(), traceparent.clone());
    }
    let properties = letter.properties.clone().with_headers(headers);
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let publishing =
        channel.basic_publish(DEAD_LETTER_EXCHANGE.into(), back.into(), mandatory, &letter.data, properties);
    let confirm = publishing.await?.await?;
    ensure!(matches!(confirm, Confirmation::Ack(None)), "{} did not take a message back", queue.name);
    letter.ack(BasicAckOptions::default()).await?;
    Ok(())
}

/// Starts to update the gauge `eventplatform_dead_letters`: how many dead letters of each of `queues` wait.
pub fn start_counting_dead_letters(lifecycle: &Lifecycle, bus: Bus, queues: &'static [Queue]) {
    let stop = lifecycle.stopping();
    supervise(lifecycle, "dead_letters", move |progress| {
        count_dead_letters(bus.clone(), queues, stop.clone(), progress)
    });
}

async fn count_dead_letters(bus: Bus, queues: &[Queue], stop: CancellationToken, progress: Progress) {
    let mut open = None;
    while !stop.is_cancelled() {
        match count(&bus, queues, &mut open).await {
            Ok(()) => {
                mark_gauges_updated("dead_letters");
                progress.succeeded();
            }
            Err(error) => {
                open = None;
                progress.failed(&error);
            }
        }
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(COUNT_EVERY) => {} }
    }
    if let Some((connection, _)) = open {
        answer(connection.close(200, "done".into())).await.ok();
    }
}

async fn count(bus: &Bus, queues: &[Queue], open: &mut Option<(Connection, Channel)>) -> anyhow::Result<()> {
    let (connection, channel) = match open.take() {
        Some(open) => open,
        None => bus.open().await?,
    };
    for queue in queues {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let dead = dead_letter_queue(*queue);
        let found = answer(channel.queue_declare(dead.into(), passive, FieldTable::default())).await?;
        metrics::gauge!("eventplatform_dead_letters", "queue" => queue.name).set(found.message_count());
    }
    *open = Some((connection, channel));
    Ok(())
}

async fn answer<T, E>(asking: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: Into<anyhow::Error>,
{
    tokio::time::timeout(ANSWER_TIMEOUT, asking).await.context("RabbitMQ does not answer")?.map_err(Into::into)
}
