//! Idempotency keys: repeated requests have one effect and get one response.

use axum::http::StatusCode;
use futures::future::join_all;
use sqlx::Connection;

use crate::helpers::Gateway;

const CREATE: &str = "/v1/payment_intents";
const FORM: [(&str, &str); 3] = [("amount", "2500"), ("currency", "eur"), ("metadata[booking_id]", "7")];

#[tokio::test]
async fn a_repeated_request_gets_the_stored_response() {
    let mut gateway = Gateway::start().await;

    let first = gateway.client().post_with_key("k1", CREATE, &FORM).await.expect(StatusCode::OK);
    gateway.kill_replicas();
    gateway.add_replica().await;
    let again = gateway.client().post_with_key("k1", CREATE, &FORM).await.expect(StatusCode::OK);

    assert!(!first.replayed());
    assert!(again.replayed());
    assert_eq!(again.json, first.json);
    assert_eq!(again.headers["original-request"], first.headers["request-id"]);
    assert_ne!(again.headers["request-id"], first.headers["request-id"]);
    assert_eq!(gateway.database.count("select count(*) from payment_intents").await, 1);
}

#[tokio::test]
async fn a_key_cannot_be_reused_with_other_parameters() {
    let gateway = Gateway::start().await;
    let first = gateway.client().post_with_key("k1", CREATE, &FORM).await.expect(StatusCode::OK);

    let other_amount = [("amount", "2600"), FORM[1], FORM[2]];
    let other_parameters = gateway.client().post_with_key("k1", CREATE, &other_amount).await;
    let cancel = format!("{CREATE}/{}/cancel", first.id());
    let other_path = gateway.client().post_with_key("k1", &cancel, &[]).await;

    for refused in [other_parameters, other_path] {
        assert_eq!(refused.expect(StatusCode::BAD_REQUEST).error(), ("idempotency_error", ""));
    }
    assert_eq!(gateway.database.count("select count(*) from payment_intents").await, 1);
}

#[tokio::test]
async fn concurrent_identical_requests_on_two_replicas_get_one_response() {
    let mut gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    let clients = [gateway.client().clone(), gateway.add_replica().await];
    let path = format!("{CREATE}/{intent}/confirm");

    let form = [("payment_method", "pm_card_visa")];
    let replies = join_all((0..20).map(|at| clients[at % 2].post_with_key("k1", &path, &form))).await;

    for reply in &replies {
        assert_eq!((reply.status, &reply.json), (StatusCode::OK, &replies[0].json));
    }
    assert_eq!(replies.iter().filter(|reply| !reply.replayed()).count(), 1);
    assert_eq!(gateway.ledger(&intent).await.len(), 1);
}

#[tokio::test]
async fn declined_and_failed_payments_are_stored_too() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    let path = format!("{CREATE}/{intent}/confirm");
    for (key, method, status) in [
        ("k1", "pm_card_visa_chargeDeclined", StatusCode::PAYMENT_REQUIRED),
        ("k2", "pm_mock_error", StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let form = [("payment_method", method)];

        let first = gateway.client().post_with_key(key, &path, &form).await.expect(status);
        let again = gateway.client().post_with_key(key, &path, &form).await.expect(status);

        assert!(again.replayed());
        assert_eq!(again.json, first.json);
    }
    assert_eq!(gateway.database.count("select count(*) from charges").await, 1);
}

#[tokio::test]
async fn an_invalid_request_does_not_use_the_key() {
    let gateway = Gateway::start().await;
    let invalid = [("amount", "much"), FORM[1], FORM[2]];

    gateway.client().post_with_key("k1", CREATE, &invalid).await.expect(StatusCode::BAD_REQUEST);

    let valid = gateway.client().post_with_key("k1", CREATE, &FORM).await.expect(StatusCode::OK);
    assert!(!valid.replayed());
}

#[tokio::test]
async fn a_key_is_in_use_during_its_request_and_unused_after_a_crash() {
    let gateway = Gateway::start().await;
    // A replica runs a request with the key: the row is inserted, the transaction is open.
    let mut running = gateway.database.pool.acquire().await.unwrap().detach();
    sqlx::query("begin").execute(&mut running).await.unwrap();
    sqlx::query("insert into idempotency_keys (key, fingerprint, request_id) values ('k1', '', 'req_1')")
        .execute(&mut running)
        .await
        .unwrap();

    let in_use = gateway.client().post_with_key("k1", CREATE, &FORM).await.expect(StatusCode::CONFLICT);
    running.close_hard().await.unwrap();
    let retried = gateway.client().post_with_key("k1", CREATE, &FORM).await.expect(StatusCode::OK);

    assert_eq!(in_use.error(), ("idempotency_error", "idempotency_key_in_use"));
    assert!(!retried.replayed());
    assert_eq!(gateway.database.count("select count(*) from payment_intents").await, 1);
}

#[tokio::test]
async fn an_intent_that_is_locked_for_long_is_busy() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    let mut tx = gateway.database.pool.begin().await.unwrap();
    sqlx::query("select from payment_intents for update").fetch_all(&mut *tx).await.unwrap();

    let busy = gateway.client().confirm(&intent, "pm_card_visa").await.expect(StatusCode::TOO_MANY_REQUESTS);
    tx.rollback().await.unwrap();

    assert_eq!(busy.error(), ("invalid_request_error", "lock_timeout"));
    gateway.client().confirm(&intent, "pm_card_visa").await.expect(StatusCode::OK);
}
