//! Webhooks are signed, and delivered at least once even when replicas are killed.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use testing::wait_for;

use crate::helpers::{Gateway, NOW};

#[tokio::test]
async fn a_webhook_is_signed_over_time_and_body() {
    let gateway = Gateway::start().await;
    let intent = gateway.paid_intent("7").await;

    let webhook = &gateway.receiver.wait_for(&intent, 1).await[0];

    assert!(webhook.genuine);
    assert!(webhook.signature.starts_with(&format!("t={NOW},v1=")), "{}", webhook.signature);
    assert_eq!(webhook.kind(), "payment_intent.succeeded");
    assert!(webhook.event["id"].as_str().unwrap().starts_with("evt_"));
    assert_eq!(webhook.event["object"], "event");
    assert_eq!(webhook.event["data"]["object"]["metadata"]["booking_id"], "7");
}

#[tokio::test]
async fn a_declined_payment_sends_a_webhook() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    gateway.client().confirm(&intent, "pm_card_visa_chargeDeclined").await.expect(StatusCode::PAYMENT_REQUIRED);

    let webhook = &gateway.receiver.wait_for(&intent, 1).await[0];

    assert_eq!(webhook.kind(), "payment_intent.payment_failed");
    assert_eq!(webhook.event["data"]["object"]["status"], "requires_payment_method");
}

#[tokio::test]
async fn a_refused_webhook_is_repeated_byte_for_byte() {
    let gateway = Gateway::start().await;
    gateway.receiver.refuse(2);
    let intent = gateway.paid_intent("7").await;

    let deliveries = gateway.receiver.wait_for(&intent, 3).await;

    assert!(deliveries.iter().all(|delivery| delivery.body == deliveries[0].body));
    gateway.wait_until_webhooks_finished().await;
    assert_eq!(gateway.receiver.deliveries().len(), 3);
}

#[tokio::test]
async fn a_webhook_is_delivered_after_its_replica_was_killed() {
    let mut gateway = Gateway::start().await;
    gateway.receiver.refuse(u32::MAX);
    let intent = gateway.paid_intent("7").await;
    gateway.receiver.wait_for(&intent, 1).await;

    gateway.kill_replicas();
    gateway.receiver.refuse(0);
    gateway.add_replica().await;

    gateway.wait_until_webhooks_finished().await;
    assert!(gateway.receiver.wait_for(&intent, 2).await.iter().all(|delivery| delivery.genuine));
}

#[tokio::test]
async fn replicas_do_not_deliver_the_same_webhook() {
    let mut gateway = Gateway::start().await;
    gateway.add_replica().await;
    gateway.add_replica().await;
    for booking in 0..15 {
        gateway.paid_intent(&booking.to_string()).await;
    }

    let deliveries = wait_for("15 deliveries", async || {
        let deliveries = gateway.receiver.deliveries();
        (deliveries.len() >= 15).then_some(deliveries)
    })
    .await;

    let events: BTreeSet<_> = deliveries.iter().map(|delivery| delivery.event["id"].to_string()).collect();
    assert_eq!((events.len(), deliveries.len()), (15, 15));
}
