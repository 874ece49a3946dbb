//! RabbitMQ may be down, and messages may be rubbish: nothing is lost, nothing is stuck.

use std::time::Duration;

use anyhow::{Result, ensure};
use contracts::message::{EXCHANGE, NOTIFICATION_QUEUE};
use eventplatform_tests::people::NewEvent;
use eventplatform_tests::stack::{Options, Stack};
use eventplatform_tests::wait;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

#[tokio::test(flavor = "multi_thread")]
async fn messages_survive_a_broker_that_is_down_and_rubbish_in_the_queue() {
    let platform = Stack::start(Options::default()).await.unwrap();
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(5, 1000)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();

    platform.rabbitmq.stop().await;
    let booking = attendee.books(&event_id, 1).await.unwrap();
    attendee.has_paid(&booking).await.unwrap();
    let seen = attendee.sees(&booking).await.unwrap();
    assert_eq!((seen["status"].as_str(), seen["payment_status"].as_str()), (Some("Confirmed"), Some("Paid")));
    assert!(attendee.notifications().await.unwrap().is_empty());

    platform.rabbitmq.up().await.unwrap();
    attendee.is_told("booking.confirmed", &booking).await.unwrap();

    let connection = Connection::connect(&platform.rabbitmq.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    publish(&channel, "booking.confirmed", b"{ this is not JSON").await.unwrap();
    let dead = format!("{}.dead", NOTIFICATION_QUEUE.name);
    wait::until("the rubbish is a dead letter", Duration::from_secs(60), async || {
        let waiting = count(&channel, &dead).await?;
        ensure!(waiting == 1, "{waiting} dead letters");
        Ok(())
    })
    .await
    .unwrap();

    let next = attendee.books(&event_id, 1).await.unwrap();
    attendee.has_paid(&next).await.unwrap();
    attendee.is_told("booking.confirmed", &next).await.unwrap();
    assert_eq!(count(&channel, &dead).await.unwrap(), 1);
}

async fn publish(channel: &Channel, routing_key: &str, body: &[u8]) -> Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id("rubbish".into());
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let publish = channel.basic_publish(EXCHANGE.into(), routing_key.into(), options, body, properties);
    let confirmation = publish.await?.await?;
    ensure!(confirmation.is_ack() && confirmation.take_message().is_none(), "the message was not routed");
    Ok(())
}

async fn count(channel: &Channel, queue: &str) -> Result<u32> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count())
}
