//! Refunds never exceed the captured amount.

use axum::http::StatusCode;
use futures::future::join_all;

use crate::helpers::{Gateway, Reply};

async fn refund(gateway: &Gateway, intent: &str, amount: Option<&str>) -> Reply {
    let mut form = vec![("payment_intent", intent), ("metadata[booking_id]", "7")];
    form.extend(amount.map(|amount| ("amount", amount)));
    gateway.client().post("/v1/refunds", &form).await
}

#[tokio::test]
async fn a_full_refund_is_stored_and_sends_webhooks() {
    let gateway = Gateway::start().await;
    let intent = gateway.paid_intent("7").await;

    let refunded = refund(&gateway, &intent, None).await.expect(StatusCode::OK);

    assert!(refunded.id().starts_with("re_"));
    assert_eq!(refunded.json["object"], "refund");
    assert_eq!(refunded.json["status"], "succeeded");
    assert_eq!(refunded.json["amount"], 2500);
    assert_eq!(refunded.json["payment_intent"], intent);
    let found = gateway.client().get(&format!("/v1/refunds/{}", refunded.id())).await.expect(StatusCode::OK);
    assert_eq!(found.json, refunded.json);
    let listed = gateway.client().get(&format!("/v1/refunds?payment_intent={intent}")).await;
    assert_eq!(listed.json["data"][0], refunded.json);
    assert_eq!(gateway.ledger(&intent).await, [("charge".to_owned(), 2500), ("refund".to_owned(), 2500)]);
    let webhooks = gateway.receiver.wait_for(&intent, 3).await;
    let event = |kind: &str| webhooks.iter().find(|webhook| webhook.kind() == kind).expect(kind).event.clone();
    assert_eq!(event("charge.refunded")["data"]["object"]["amount_refunded"], 2500);
    assert_eq!(event("charge.refunded")["data"]["object"]["refunded"], true);
    assert_eq!(event("refund.updated")["data"]["object"]["id"], refunded.id());
}

#[tokio::test]
async fn partial_refunds_never_exceed_the_charge() {
    let gateway = Gateway::start().await;
    let intent = gateway.paid_intent("7").await;

    refund(&gateway, &intent, Some("1000")).await.expect(StatusCode::OK);
    let too_much = refund(&gateway, &intent, Some("1501")).await.expect(StatusCode::BAD_REQUEST);
    let rest = refund(&gateway, &intent, None).await.expect(StatusCode::OK);
    let again = refund(&gateway, &intent, Some("1")).await.expect(StatusCode::BAD_REQUEST);

    assert_eq!(too_much.error().0, "invalid_request_error");
    assert_eq!(too_much.json["error"]["param"], "amount");
    assert_eq!(rest.json["amount"], 1500);
    assert_eq!(again.error(), ("invalid_request_error", "charge_already_refunded"));
}

#[tokio::test]
async fn concurrent_refunds_never_exceed_the_charge() {
    let mut gateway = Gateway::start().await;
    let intent = gateway.paid_intent("7").await;
    gateway.add_replica().await;

    let replies = join_all((0..12).map(|_| refund(&gateway, &intent, Some("1000")))).await;

    assert_eq!(replies.iter().filter(|reply| reply.status == StatusCode::OK).count(), 2);
    let refunded: i64 = gateway.ledger(&intent).await.iter().filter(|e| e.0 == "refund").map(|e| e.1).sum();
    assert_eq!(refunded, 2000);
}

#[tokio::test]
async fn an_unpaid_intent_cannot_be_refunded() {
    let gateway = Gateway::with_late_seconds(3600).await;
    let (unpaid, late) = (gateway.new_intent("7").await, gateway.new_intent("8").await);
    gateway.client().confirm(&late, "pm_mock_late").await.expect(StatusCode::OK);

    for intent in [unpaid, late] {
        let refused = refund(&gateway, &intent, None).await.expect(StatusCode::BAD_REQUEST);

        assert_eq!(refused.error().0, "invalid_request_error");
        assert!(gateway.ledger(&intent).await.is_empty());
    }
}

#[tokio::test]
async fn unknown_intents_and_refunds_are_missing() {
    let gateway = Gateway::start().await;

    let by_parameter = refund(&gateway, "pi_nothing", None).await.expect(StatusCode::BAD_REQUEST);
    let by_path = gateway.client().get("/v1/refunds/re_nothing").await.expect(StatusCode::NOT_FOUND);

    assert_eq!(by_parameter.error(), ("invalid_request_error", "resource_missing"));
    assert_eq!(by_path.error(), ("invalid_request_error", "resource_missing"));
}
