//! Publishing with confirms.

use std::time::Duration;

use contracts::message::EXCHANGE;
use lapin::types::FieldTable;
use platform::{
    bus::{MAX_BODY_BYTES, PublishFailure, Publisher, Refusal},
    outbox::OutboxRow,
};
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

    let unroutable = broker.publisher.publish_all(&[row.clone().into()]).await.remove(0);
    let again = broker.publisher.publish_all(&[row.clone().into()]).await.remove(0);

    assert!(matches!(unroutable, Err(PublishFailure::Refused(Refusal::Unroutable(_)))), "{unroutable:?}");
    again.unwrap();
    until("it waits in the queue", async || broker.waiting(QUEUE.name.to_owned()).await == 1).await;
}

#[tokio::test]
async fn a_batch_is_confirmed_message_by_message() {
    let broker = Broker::alone().await;
    let rows: Vec<_> = (0..200).map(|_| row().into()).collect();

    let results = broker.publisher.publish_all(&rows).await;

    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 200);
    until("all wait in the queue", async || broker.waiting(QUEUE.name.to_owned()).await == 200).await;
}

#[tokio::test]
async fn a_publisher_connects_again_after_a_cut() {
    let broker = Broker::alone().await;
    let proxy = Proxy::start().await;
    let publisher = Publisher::new(proxy.bus());
    publisher.publish_all(&[row().into()]).await.remove(0).unwrap();

    proxy.cut();
    let refused = publisher.publish_all(&[row().into(), row().into()]).await;
    proxy.mend();
    let accepted = publisher.publish_all(&[row().into()]).await;

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
    let rows: Vec<_> = (0..50).map(|_| row().into()).collect();

    proxy.stall();
    let began = Instant::now();
    let results = publisher.publish_all(&rows).await;

    assert!(results.iter().all(Result::is_err));
    assert!(began.elapsed() + Duration::from_secs(5) < platform::outbox::CLAIM_LEASE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_cannot_be_published_holds_nothing_else_up() {
    let broker = Broker::alone().await;
    let with = |routing_key: Option<&str>, body: Option<Vec<u8>>| {
        let routing_key = routing_key.map(ToOwned::to_owned);
        OutboxRow { routing_key, body, ..OutboxRow::from(row()) }
    };
    let key = Some("event.changed");
    let rows = [
        with(None, Some(b"{}".to_vec())),
        with(Some(""), Some(b"{}".to_vec())),
        with(Some(&"x".repeat(256)), Some(b"{}".to_vec())),
        with(key, None),
        with(key, Some(vec![b' '; MAX_BODY_BYTES + 1])),
        with(Some("nobody.listens"), Some(b"{}".to_vec())),
        row().into(),
        // More than this broker takes: it closes the channel.
        with(key, Some(vec![b' '; 700_000])),
        with(Some("event.of_tomorrow"), Some(b"{\"type\":\"event.of_tomorrow\"}".to_vec())),
    ];

    let results = broker.publisher.publish_all(&rows).await;

    let reason = |result: &Result<(), PublishFailure>| match result {
        Ok(()) => "published",
        Err(PublishFailure::Refused(refusal)) => refusal.reason(),
        Err(PublishFailure::Unavailable(error)) => panic!("{error:#}"),
    };
    let reasons: Vec<_> = results.iter().map(reason).collect();
    let no_key = "no_routing_key";
    let (large, published) = ("too_large", "published");
    let expected = [no_key, no_key, no_key, large, large, "unroutable", published, "channel_closed", published];
    assert_eq!(reasons, expected);
}
