//! Publishing with confirms.

use std::time::Duration;

use contracts::message::EXCHANGE;
use lapin::types::FieldTable;
use platform::bus::Publisher;
use tokio::time::Instant;

use crate::helpers::{Broker, Proxy, QUEUE, row, until};

#[tokio::test]
async fn a_message_that_no_queue_takes_is_not_published_and_the_next_attempt_mends_the_binding() {
    let broker = Broker::alone().await;
    let pattern = QUEUE.bindings[0];
    broker
        .channel
        .queue_unbind(QUEUE.name.into(), EXCHANGE.into(), pattern.into(), FieldTable::default())
        .await
        .unwrap();
    let row = row();

    let unroutable = broker.publisher.publish_all(std::slice::from_ref(&row)).await.remove(0);
    let again = broker.publisher.publish_all(std::slice::from_ref(&row)).await.remove(0);

    assert!(unroutable.unwrap_err().to_string().contains("no queue took the message"));
    again.unwrap();
    until("it waits in the queue", async || broker.waiting(QUEUE.name.to_owned()).await == 1).await;
}

#[tokio::test]
async fn a_batch_is_confirmed_message_by_message() {
    let broker = Broker::alone().await;
    let rows: Vec<_> = (0..200).map(|_| row()).collect();

    let results = broker.publisher.publish_all(&rows).await;

    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 200);
    until("all wait in the queue", async || broker.waiting(QUEUE.name.to_owned()).await == 200).await;
}

#[tokio::test]
async fn a_publisher_connects_again_after_a_cut() {
    let broker = Broker::alone().await;
    let proxy = Proxy::start().await;
    let publisher = Publisher::new(proxy.bus());
    publisher.publish_all(&[row()]).await.remove(0).unwrap();

    proxy.cut();
    let refused = publisher.publish_all(&[row(), row()]).await;
    proxy.mend();
    let accepted = publisher.publish_all(&[row()]).await;

    assert!(refused.len() == 2 && refused.iter().all(Result::is_err));
    assert!(accepted[0].is_ok(), "{accepted:?}");
    drop(broker);
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_given_up_before_an_outbox_lease_ends() {
    let _broker = Broker::alone().await;
    let proxy = Proxy::start().await;
    let publisher = Publisher::new(proxy.bus());
    publisher.ping().await.unwrap();
    let rows: Vec<_> = (0..50).map(|_| row()).collect();

    proxy.stall();
    let began = Instant::now();
    let results = publisher.publish_all(&rows).await;

    assert!(results.iter().all(Result::is_err));
    assert!(began.elapsed() + Duration::from_secs(5) < platform::outbox::CLAIM_LEASE, "{:?}", began.elapsed());
}
