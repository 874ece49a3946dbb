//! Fault injection.

use std::time::Duration;

use axum::http::StatusCode;
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::helpers::Gateway;

#[tokio::test]
async fn an_injected_error_has_no_effect_and_leaves_its_key_unused() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    let path = format!("/v1/payment_intents/{intent}/confirm");
    let form = [("payment_method", "pm_card_visa")];
    gateway.set_faults(json!([{"match": {"operation": "confirm"}, "times": 1, "action": "error_500"}])).await;

    let failed = gateway.client().post_with_key("k1", &path, &form).await;
    let charged = gateway.ledger(&intent).await;
    let retried = gateway.client().post_with_key("k1", &path, &form).await;

    assert_eq!(failed.expect(StatusCode::INTERNAL_SERVER_ERROR).error(), ("api_error", ""));
    assert!(charged.is_empty());
    assert!(!retried.expect(StatusCode::OK).replayed());
    assert_eq!(gateway.ledger(&intent).await.len(), 1);
}

#[tokio::test]
async fn a_timeout_before_charges_nothing_and_a_timeout_after_charges() {
    let gateway = Gateway::start().await;
    let (before, after) = (gateway.new_intent("7").await, gateway.new_intent("8").await);
    let rule = |booking: &str, action: &str| json!({"match": {"operation": "confirm", "booking_id": booking}, "times": 1, "action": action});
    gateway.set_faults(json!([rule("7", "timeout_before"), rule("8", "timeout_after")])).await;

    for intent in [&before, &after] {
        let path = format!("/v1/payment_intents/{intent}/confirm");
        let request = gateway.client().request(Method::POST, &path).form(&[("payment_method", "pm_card_visa")]);
        assert!(gateway.client().times_out(request).await);
    }

    gateway.wait_for_status(&after, "succeeded").await;
    assert_eq!(gateway.ledger(&after).await.len(), 1);
    assert!(gateway.ledger(&before).await.is_empty());
}

#[tokio::test]
async fn a_delay_applies_only_to_the_booking_of_its_rule() {
    let gateway = Gateway::start().await;
    gateway
        .set_faults(json!([{"match": {"operation": "retrieve", "booking_id": "7"}, "action": {"delay_ms": 1500}}]))
        .await;
    let (slow, quick) = (gateway.new_intent("7").await, gateway.new_intent("8").await);
    let time = async |intent: &str| {
        let began = Instant::now();
        gateway.client().get(&format!("/v1/payment_intents/{intent}")).await.expect(StatusCode::OK);
        began.elapsed()
    };

    assert!(time(&slow).await >= Duration::from_millis(1500));
    assert!(time(&quick).await < Duration::from_millis(1500));
}

#[tokio::test]
async fn every_operation_can_fail() {
    let gateway = Gateway::start().await;
    let intent = gateway.paid_intent("7").await;
    let post = |path: &str| gateway.client().request(Method::POST, path);
    for (operation, request) in [
        ("create", post("/v1/payment_intents").form(&[("amount", "1"), ("currency", "eur")])),
        ("confirm", post(&format!("/v1/payment_intents/{intent}/confirm"))),
        ("cancel", post(&format!("/v1/payment_intents/{intent}/cancel"))),
        ("refund", post("/v1/refunds").form(&[("payment_intent", intent.as_str())])),
        ("retrieve", gateway.client().request(Method::GET, "/v1/payment_intents")),
    ] {
        gateway.set_faults(json!([{"match": {"operation": operation}, "times": 1, "action": "error_500"}])).await;

        let failed = gateway.client().send(request).await;

        assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR, "{operation}");
    }
    assert_eq!(gateway.ledger(&intent).await.len(), 1);
}

#[tokio::test]
async fn a_rule_can_match_the_payment_method() {
    let gateway = Gateway::start().await;
    let matching = json!({"operation": "confirm", "payment_method": "pm_mock_late"});
    gateway.set_faults(json!([{"match": matching, "action": "error_500"}])).await;

    let named = gateway.client().confirm(&gateway.new_intent("7").await, "pm_mock_late").await;
    let other = gateway.client().confirm(&gateway.new_intent("7").await, "pm_card_visa").await;

    named.expect(StatusCode::INTERNAL_SERVER_ERROR);
    other.expect(StatusCode::OK);
}

#[tokio::test]
async fn replicas_share_the_remaining_uses_of_a_rule() {
    let mut gateway = Gateway::start().await;
    let clients = [gateway.client().clone(), gateway.add_replica().await];
    gateway.set_faults(json!([{"match": {"operation": "create"}, "times": 3, "action": "error_500"}])).await;

    let form = [("amount", "100"), ("currency", "eur")];
    let replies = join_all((0..12).map(|at| clients[at % 2].post("/v1/payment_intents", &form))).await;

    let failed = replies.iter().filter(|reply| reply.status == StatusCode::INTERNAL_SERVER_ERROR).count();
    assert_eq!(failed, 3);
    let shown = gateway.client().get("/control/faults").await;
    assert_eq!(shown.json[0]["remaining"], 0);
}

#[tokio::test]
async fn a_duplicated_webhook_is_delivered_twice() {
    let gateway = Gateway::start().await;
    gateway.set_faults(json!([{"match": {"operation": "webhook"}, "times": 1, "action": "duplicate_webhook"}])).await;
    let intent = gateway.paid_intent("7").await;

    let deliveries = gateway.receiver.wait_for(&intent, 2).await;

    assert_eq!(deliveries[0].body, deliveries[1].body);
    assert!(deliveries.iter().all(|delivery| delivery.genuine));
}

#[tokio::test]
async fn a_dropped_webhook_is_never_delivered() {
    let gateway = Gateway::start().await;
    let matching = json!({"operation": "webhook", "event_type": "payment_intent.succeeded", "booking_id": "7"});
    gateway.set_faults(json!([{"match": matching, "times": 1, "action": "drop_webhook"}])).await;
    let dropped = gateway.paid_intent("7").await;
    let delivered = gateway.paid_intent("8").await;

    gateway.receiver.wait_for(&delivered, 1).await;
    gateway.wait_until_webhooks_finished().await;

    assert!(gateway.receiver.deliveries().iter().all(|delivery| delivery.intent() != dropped));
}

#[tokio::test]
async fn a_reordered_webhook_is_delivered_after_the_next_one() {
    let gateway = Gateway::start().await;
    let matching = json!({"operation": "webhook", "event_type": "payment_intent.succeeded"});
    gateway.set_faults(json!([{"match": matching, "times": 1, "action": "reorder_webhooks"}])).await;
    let intent = gateway.paid_intent("7").await;
    gateway.client().post("/v1/refunds", &[("payment_intent", intent.as_str())]).await.expect(StatusCode::OK);

    let deliveries = gateway.receiver.wait_for(&intent, 3).await;

    assert_ne!(deliveries[0].kind(), "payment_intent.succeeded");
    assert!(deliveries.iter().any(|delivery| delivery.kind() == "payment_intent.succeeded"));
}

#[tokio::test]
async fn a_delayed_webhook_is_delivered_late() {
    let gateway = Gateway::start().await;
    gateway.set_faults(json!([{"match": {"operation": "webhook"}, "times": 1, "action": {"delay_ms": 700}}])).await;
    let began = Instant::now();
    let intent = gateway.paid_intent("7").await;

    gateway.receiver.wait_for(&intent, 1).await;

    assert!(began.elapsed() >= Duration::from_millis(700));
}

#[tokio::test]
async fn a_forged_webhook_with_the_opposite_outcome_precedes_the_genuine_one() {
    let gateway = Gateway::start().await;
    gateway.set_faults(json!([{"match": {"operation": "webhook"}, "times": 1, "action": "forge_signature"}])).await;
    let intent = gateway.paid_intent("7").await;

    let deliveries = gateway.receiver.wait_for(&intent, 2).await;

    assert_eq!((deliveries[0].genuine, deliveries[0].kind()), (false, "payment_intent.payment_failed"));
    assert_eq!((deliveries[1].genuine, deliveries[1].kind()), (true, "payment_intent.succeeded"));
}
