//! The control API: fault rules and the append-only ledger.

use axum::http::StatusCode;
use reqwest::Method;
use serde_json::json;
use testing::wait_until;

use crate::helpers::Gateway;

#[tokio::test]
async fn fault_rules_are_stored_replaced_and_cleared() {
    let mut gateway = Gateway::start().await;
    let rule = |operation: &str| json!({"match": {"operation": operation}, "times": 2, "action": "error_500"});

    gateway.set_faults(json!([rule("cancel"), rule("refund")])).await;
    gateway.set_faults(json!([rule("create")])).await;
    gateway.kill_replicas();
    gateway.add_replica().await;
    let stored = gateway.client().get("/control/faults").await.expect(StatusCode::OK);
    let cleared = gateway.client().request(Method::DELETE, "/control/faults");
    gateway.client().send(cleared).await.expect(StatusCode::NO_CONTENT);

    let expected = json!({"match": {"operation": "create"}, "times": 2, "action": "error_500", "remaining": 2});
    assert_eq!(stored.json, json!([expected]));
    assert_eq!(gateway.client().get("/control/faults").await.json, json!([]));
    gateway.new_intent("7").await;
}

#[tokio::test]
async fn invalid_fault_rules_are_refused_and_change_nothing() {
    let gateway = Gateway::start().await;
    gateway.set_faults(json!([{"match": {"operation": "cancel"}, "action": "error_500"}])).await;
    for bad in [
        json!({}),
        json!([{"match": {"operation": "cancel"}, "action": "explode"}]),
        json!([{"match": {"operation": "cancel"}, "action": "drop_webhook"}]),
        json!([{"match": {"operation": "cancel", "user": 7}, "action": "error_500"}]),
        json!([{"match": {"operation": "cancel", "booking_id": "a\0b"}, "action": "error_500"}]),
    ] {
        let refused = gateway.client().json(Method::PUT, "/control/faults", &bad).await;

        assert_eq!(refused.expect(StatusCode::BAD_REQUEST).error().0, "invalid_request_error");
    }
    assert_eq!(gateway.client().get("/control/faults").await.json.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_ledger_is_listed_by_booking_in_pages() {
    let gateway = Gateway::start().await;
    let intent = gateway.paid_intent("7").await;
    gateway.paid_intent("8").await;
    gateway.client().post("/v1/refunds", &[("payment_intent", intent.as_str())]).await.expect(StatusCode::OK);

    let first = gateway.client().get("/control/ledger?booking_id=7&limit=1").await.expect(StatusCode::OK);
    let cursor = first.json["next_cursor"].as_str().unwrap();
    let second = gateway.client().get(&format!("/control/ledger?booking_id=7&cursor={cursor}")).await;
    let all = gateway.client().get("/control/ledger").await;

    assert_eq!(first.json["items"][0]["kind"], "charge");
    assert_eq!(first.json["items"][0]["payment_intent"], intent);
    assert_eq!(second.json["items"][0]["kind"], "refund");
    assert_eq!(second.json["items"][0]["booking_id"], "7");
    assert!(second.json["next_cursor"].is_null());
    assert_eq!(all.json["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_database_refuses_changes_that_falsify_the_ledger() {
    let gateway = Gateway::start().await;
    gateway.paid_intent("7").await;
    for sql in [
        "update ledger_entries set amount = 1",
        "delete from ledger_entries",
        "truncate ledger_entries",
        "insert into ledger_entries (kind, payment_intent, charge, amount, currency)
         select kind, payment_intent, charge, amount, currency from ledger_entries",
        "insert into charges (id, payment_intent, amount, currency, status, payment_method)
         select 'ch_2', payment_intent, amount, currency, 'succeeded', payment_method from charges",
        "update charges set amount_refunded = amount + 1",
        "update payment_intents set amount_received = amount - 1",
    ] {
        assert!(sqlx::query(sql).execute(&gateway.database.pool).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn delivered_webhooks_are_counted_in_metrics() {
    platform::telemetry::metrics_handle();
    let gateway = Gateway::start().await;
    let intent = gateway.paid_intent("7").await;
    gateway.receiver.wait_for(&intent, 1).await;

    wait_until("a delivery is counted", async || {
        let metrics = platform::telemetry::metrics_handle().render();
        metrics.contains("eventplatform_mock_gateway_webhooks_total{outcome=\"delivered\"}")
    })
    .await;
}
