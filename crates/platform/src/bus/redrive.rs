//! Driving dead letters back to their queue, once whatever made them fail is mended.

use anyhow::ensure;
use contracts::message::Queue;
use lapin::{
    Confirmation,
    options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::FieldTable,
};

use super::{Bus, dead_letter_queue};

/// Moves the dead letters that wait now back to `queue`; returns how many.
///
/// Each is published to the queue and confirmed before it leaves the dead-letter queue, so an interruption at worst
/// delivers one twice. Those that fail again come back as dead letters, and are not taken twice in one run.
pub async fn redrive(bus: &Bus, queue: Queue) -> anyhow::Result<u32> {
    let (connection, channel) = bus.open().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let dead = dead_letter_queue(queue);
    let mut moved = 0;
    let mut remaining = 1;
    while remaining > 0 {
        let Some(letter) = channel.basic_get(dead.as_str().into(), BasicGetOptions::default()).await? else { break };
        if moved == 0 {
            remaining = letter.message_count + 1;
        }
        let delivery = &letter.delivery;
        // The headers tell of the death; a delivery count carried over would shorten the next life.
        let properties = delivery.properties.clone().with_headers(FieldTable::default());
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm =
            channel.basic_publish("".into(), queue.name.into(), mandatory, &delivery.data, properties).await?.await?;
        ensure!(matches!(confirm, Confirmation::Ack(None)), "{} did not take a message back", queue.name);
        delivery.ack(BasicAckOptions::default()).await?;
        moved += 1;
        remaining -= 1;
        tracing::info!(queue = queue.name, moved, remaining, "dead letter driven back");
    }
    connection.close(200, "done".into()).await.ok();
    Ok(moved)
}
