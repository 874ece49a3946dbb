//! Payment intents and payment methods.

use axum::http::StatusCode;
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::helpers::Gateway;

#[tokio::test]
async fn a_valid_card_is_charged_at_once() {
    let gateway = Gateway::start().await;
    let form = [
        ("amount", "2500"),
        ("currency", "EUR"),
        ("metadata[booking_id]", "7"),
        ("payment_method_types[]", "card"),
        ("description", "2 seats"),
    ];

    let created = gateway.client().post("/v1/payment_intents", &form).await.expect(StatusCode::OK);
    let paid = gateway.client().confirm(&created.id(), "pm_card_visa").await.expect(StatusCode::OK);

    assert!(created.id().starts_with("pi_"));
    assert_eq!(created.json["object"], "payment_intent");
    assert_eq!(created.json["status"], "requires_payment_method");
    assert_eq!(created.json["currency"], "eur");
    assert_eq!(created.json["metadata"]["booking_id"], "7");
    assert_eq!(created.json["amount_received"], 0);
    assert!(created.json["client_secret"].as_str().unwrap().starts_with(&created.id()));
    assert_eq!(paid.json["status"], "succeeded");
    assert_eq!(paid.json["amount_received"], 2500);
    assert!(paid.json["latest_charge"].as_str().unwrap().starts_with("ch_"));
    assert_eq!(paid.json["created"], created.json["created"]);
    let found = gateway.client().get(&format!("/v1/payment_intents/{}", created.id())).await;
    assert_eq!(found.json, paid.json);
    assert_eq!(gateway.ledger(&created.id()).await, [("charge".to_owned(), 2500)]);
}

#[tokio::test]
async fn an_intent_can_be_created_and_confirmed_in_one_request() {
    let gateway = Gateway::start().await;
    let form = [
        ("amount", "900"),
        ("currency", "usd"),
        ("automatic_payment_methods[enabled]", "true"),
        ("automatic_payment_methods[allow_redirects]", "never"),
        ("payment_method", "pm_card_visa"),
        ("confirm", "true"),
    ];

    let paid = gateway.client().post("/v1/payment_intents", &form).await.expect(StatusCode::OK);

    assert_eq!(paid.json["status"], "succeeded");
    assert_eq!(paid.json["automatic_payment_methods"]["enabled"], true);
    assert_eq!(gateway.ledger(&paid.id()).await, [("charge".to_owned(), 900)]);
}

#[tokio::test]
async fn an_intent_with_a_payment_method_waits_for_its_confirmation() {
    let gateway = Gateway::start().await;
    let form = [("amount", "900"), ("currency", "usd"), ("payment_method", "pm_card_visa")];

    let created = gateway.client().post("/v1/payment_intents", &form).await;
    let path = format!("/v1/payment_intents/{}/confirm", created.id());
    let paid = gateway.client().post(&path, &[]).await.expect(StatusCode::OK);

    assert_eq!(created.json["status"], "requires_confirmation");
    assert_eq!(paid.json["status"], "succeeded");
}

#[tokio::test]
async fn an_intent_can_be_paid_after_a_declined_card() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;

    let declined = gateway.client().confirm(&intent, "pm_card_visa_chargeDeclined").await;
    let nothing_charged = gateway.ledger(&intent).await;
    let paid = gateway.client().confirm(&intent, "pm_card_visa").await.expect(StatusCode::OK);

    let declined = declined.expect(StatusCode::PAYMENT_REQUIRED);
    assert_eq!(declined.error(), ("card_error", "card_declined"));
    let error = &declined.json["error"];
    assert_eq!(error["decline_code"], "generic_decline");
    assert_eq!(error["payment_intent"]["id"], intent);
    assert_eq!(error["payment_intent"]["status"], "requires_payment_method");
    assert_eq!(error["payment_intent"]["last_payment_error"]["code"], "card_declined");
    assert_eq!(error["charge"], error["payment_intent"]["latest_charge"]);
    assert!(nothing_charged.is_empty());
    assert_eq!(paid.json["status"], "succeeded");
    assert!(paid.json["last_payment_error"].is_null());
    assert_eq!(gateway.ledger(&intent).await.len(), 1);
}

#[tokio::test]
async fn an_error_charges_nothing() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;

    let failed = gateway.client().confirm(&intent, "pm_mock_error").await;

    assert_eq!(failed.expect(StatusCode::INTERNAL_SERVER_ERROR).error(), ("api_error", ""));
    assert!(gateway.ledger(&intent).await.is_empty());
    let found = gateway.client().get(&format!("/v1/payment_intents/{intent}")).await;
    assert_eq!(found.json["status"], "requires_payment_method");
    gateway.client().confirm(&intent, "pm_card_visa").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_timeout_charges_without_a_response() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    let path = format!("/v1/payment_intents/{intent}/confirm");
    let form = [("payment_method", "pm_mock_timeout")];
    let request = gateway.client().request(Method::POST, &path).header("idempotency-key", "k1").form(&form);

    assert!(gateway.client().times_out(request).await);

    assert_eq!(gateway.wait_for_status(&intent, "succeeded").await["amount_received"], 2500);
    assert_eq!(gateway.ledger(&intent).await.len(), 1);
    let again = gateway.client().post_with_key("k1", &path, &form).await.expect(StatusCode::OK);
    assert!(again.replayed());
    assert_eq!(again.json["status"], "succeeded");
    assert_eq!(gateway.receiver.wait_for(&intent, 1).await[0].kind(), "payment_intent.succeeded");
}

#[tokio::test]
async fn an_unanswered_request_is_closed_when_the_replica_stops() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    let (client, path) = (gateway.client().clone(), format!("/v1/payment_intents/{intent}/confirm"));
    let waiting = tokio::spawn(async move {
        client.try_send(client.request(Method::POST, &path).form(&[("payment_method", "pm_mock_timeout")])).await
    });
    gateway.wait_for_status(&intent, "succeeded").await;
    assert!(!waiting.is_finished());

    gateway.stop_replicas();

    let closed = waiting.await.unwrap().unwrap_err();
    assert!(!closed.is_timeout(), "{closed:?}");
}

#[tokio::test]
async fn a_late_payment_settles_by_webhook() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;

    let processing = gateway.client().confirm(&intent, "pm_mock_late").await.expect(StatusCode::OK);
    let charged_at_once = gateway.ledger(&intent).await;
    let webhook = &gateway.receiver.wait_for(&intent, 1).await[0];

    assert_eq!(processing.json["status"], "processing");
    assert_eq!(processing.json["amount_received"], 0);
    assert!(charged_at_once.is_empty());
    assert_eq!(webhook.kind(), "payment_intent.succeeded");
    assert_eq!(webhook.event["data"]["object"]["latest_charge"], processing.json["latest_charge"]);
    assert_eq!(gateway.ledger(&intent).await, [("charge".to_owned(), 2500)]);
}

#[tokio::test]
async fn a_late_payment_can_be_declined() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;

    gateway.client().confirm(&intent, "pm_mock_late_chargeDeclined").await.expect(StatusCode::OK);
    let webhook = &gateway.receiver.wait_for(&intent, 1).await[0];

    assert_eq!(webhook.kind(), "payment_intent.payment_failed");
    assert_eq!(webhook.event["data"]["object"]["last_payment_error"]["code"], "card_declined");
    assert!(gateway.ledger(&intent).await.is_empty());
    gateway.client().confirm(&intent, "pm_card_visa").await.expect(StatusCode::OK);
    assert_eq!(gateway.ledger(&intent).await.len(), 1);
}

#[tokio::test]
async fn a_late_payment_settles_once_after_its_replica_was_killed() {
    let mut gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    gateway.client().confirm(&intent, "pm_mock_late").await.expect(StatusCode::OK);

    gateway.kill_replicas();
    for _ in 0..3 {
        gateway.add_replica().await;
    }

    gateway.wait_for_status(&intent, "succeeded").await;
    assert_eq!(gateway.ledger(&intent).await, [("charge".to_owned(), 2500)]);
    gateway.receiver.wait_for(&intent, 1).await;
    assert_eq!(gateway.database.count("select count(*) from events").await, 1);
}

#[tokio::test]
async fn an_unknown_payment_method_is_refused() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;

    let refused = gateway.client().confirm(&intent, "pm_card_nobody").await.expect(StatusCode::BAD_REQUEST);

    assert_eq!(refused.error(), ("invalid_request_error", "resource_missing"));
    assert_eq!(refused.json["error"]["param"], "payment_method");
    assert_eq!(refused.json["error"]["message"], "No such PaymentMethod: 'pm_card_nobody'");
}

#[tokio::test]
async fn a_paid_intent_is_not_charged_again() {
    let gateway = Gateway::start().await;
    let intent = gateway.paid_intent("7").await;

    let again = gateway.client().confirm(&intent, "pm_card_visa").await.expect(StatusCode::BAD_REQUEST);

    assert_eq!(again.error(), ("invalid_request_error", "payment_intent_unexpected_state"));
    assert_eq!(again.json["error"]["payment_intent"]["status"], "succeeded");
    assert_eq!(gateway.ledger(&intent).await.len(), 1);
}

#[tokio::test]
async fn concurrent_confirmations_on_two_replicas_make_one_charge() {
    let mut gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    let clients = [gateway.client().clone(), gateway.add_replica().await];

    let confirmations = (0..20).map(|at| clients[at % 2].confirm(&intent, "pm_card_visa"));
    let replies = join_all(confirmations).await;

    let paid = replies.iter().filter(|reply| reply.status == StatusCode::OK).count();
    assert_eq!(paid, 1);
    for refused in replies.iter().filter(|reply| reply.status != StatusCode::OK) {
        assert_eq!(refused.error().1, "payment_intent_unexpected_state");
    }
    assert_eq!(gateway.ledger(&intent).await, [("charge".to_owned(), 2500)]);
}

#[tokio::test]
async fn of_a_concurrent_confirmation_and_cancellation_one_succeeds() {
    let gateway = Gateway::start().await;
    for _ in 0..10 {
        let intent = gateway.new_intent("7").await;
        let path = format!("/v1/payment_intents/{intent}/cancel");

        let (confirmed, canceled) =
            tokio::join!(gateway.client().confirm(&intent, "pm_card_visa"), gateway.client().post(&path, &[]));

        let won = [&confirmed, &canceled].iter().filter(|reply| reply.status == StatusCode::OK).count();
        assert_eq!(won, 1, "{} {}", confirmed.json, canceled.json);
        let charged = gateway.ledger(&intent).await.len();
        assert_eq!(charged, usize::from(confirmed.status == StatusCode::OK));
    }
}

#[tokio::test]
async fn a_canceled_intent_is_never_paid() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    let path = format!("/v1/payment_intents/{intent}/cancel");

    let canceled = gateway.client().post(&path, &[("cancellation_reason", "abandoned")]).await;
    let confirmed = gateway.client().confirm(&intent, "pm_card_visa").await;
    let again = gateway.client().post(&path, &[]).await;

    let canceled = canceled.expect(StatusCode::OK);
    assert_eq!(canceled.json["status"], "canceled");
    assert_eq!(canceled.json["cancellation_reason"], "abandoned");
    assert!(canceled.json["canceled_at"].is_i64());
    for refused in [confirmed, again] {
        assert_eq!(refused.expect(StatusCode::BAD_REQUEST).error().1, "payment_intent_unexpected_state");
    }
    assert!(gateway.ledger(&intent).await.is_empty());
}

#[tokio::test]
async fn paid_and_processing_intents_cannot_be_canceled() {
    let gateway = Gateway::with_late_seconds(3600).await;
    let (paid, late) = (gateway.paid_intent("7").await, gateway.new_intent("8").await);
    gateway.client().confirm(&late, "pm_mock_late").await.expect(StatusCode::OK);

    for intent in [paid, late] {
        let refused = gateway.client().post(&format!("/v1/payment_intents/{intent}/cancel"), &[]).await;

        assert_eq!(refused.expect(StatusCode::BAD_REQUEST).error().1, "payment_intent_unexpected_state");
    }
}

#[tokio::test]
async fn intents_are_listed_newest_first_in_pages() {
    let gateway = Gateway::start().await;
    let mut ids = Vec::new();
    for booking in ["1", "2", "3", "4", "5"] {
        ids.push(gateway.new_intent(booking).await);
    }
    ids.reverse();

    let mut seen: Vec<String> = Vec::new();
    loop {
        let after = seen.last().map(|id| format!("&starting_after={id}")).unwrap_or_default();
        let page = gateway.client().get(&format!("/v1/payment_intents?limit=2{after}")).await.expect(StatusCode::OK);
        assert_eq!(page.json["object"], "list");
        seen.extend(page.json["data"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()));
        if page.json["has_more"] == false {
            break;
        }
    }

    assert_eq!(seen, ids);
}

#[tokio::test]
async fn intents_are_listed_by_the_second_of_their_creation() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("1").await;
    let created = gateway.client().get(&format!("/v1/payment_intents/{intent}")).await.json["created"].clone();
    let created = created.as_i64().unwrap();
    let count = async |filter: String| {
        let page = gateway.client().get(&format!("/v1/payment_intents?{filter}")).await.expect(StatusCode::OK);
        page.json["data"].as_array().unwrap().len()
    };

    assert_eq!(count(format!("created[gte]={created}")).await, 1);
    assert_eq!(count(format!("created[lte]={created}")).await, 1);
    assert_eq!(count(format!("created[gt]={created}")).await, 0);
    assert_eq!(count(format!("created[lt]={created}")).await, 0);
}

#[tokio::test]
async fn a_delayed_payment_is_made_after_its_client_disconnected() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    gateway.set_faults(json!([{"match": {"operation": "confirm"}, "action": {"delay_ms": 1500}}])).await;
    let path = format!("/v1/payment_intents/{intent}/confirm");
    let request = gateway.client().request(Method::POST, &path).form(&[("payment_method", "pm_card_visa")]);

    let timed_out = gateway.client().times_out(request).await;
    let charged_meanwhile = gateway.ledger(&intent).await;

    assert!(timed_out);
    assert!(charged_meanwhile.is_empty());
    gateway.wait_for_status(&intent, "succeeded").await;
    assert_eq!(gateway.ledger(&intent).await.len(), 1);
}
