//! Idempotency keys: one effect and one answer, whatever happens in between.

use axum::http::StatusCode;
use futures::future::join_all;
use sqlx::Connection;

use crate::helpers::Gateway;

const CREATE: &str = "/v1/payment_intents";
const FORM: [(&str, &str); 3] = [("amount", "2500"), ("currency", "eur"), ("metadata[booking_id]", "7")];

#[tokio::test]
async fn a_repeated_request_gets_the_stored_answer() {
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
async fn a_key_belongs_to_its_first_parameters() {
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
async fn twenty_identical_requests_at_once_on_two_replicas_get_one_answer() {
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
async fn refusals_and_errors_of_the_company_are_kept_too() {
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
async fn what_does_not_parse_uses_up_no_key() {
    let gateway = Gateway::start().await;
    let unfit = [("amount", "much"), FORM[1], FORM[2]];

    gateway.client().post_with_key("k1", CREATE, &unfit).await.expect(StatusCode::BAD_REQUEST);

    let fit = gateway.client().post_with_key("k1", CREATE, &FORM).await.expect(StatusCode::OK);
    assert!(!fit.replayed());
}

#[tokio::test]
async fn a_key_whose_request_takes_long_is_in_use_and_free_after_a_crash() {
    let gateway = Gateway::start().await;
    // A replica that is at work under the key: its row is there, its transaction is not at its end.
    let mut working = gateway.database.pool.acquire().await.unwrap().detach();
    sqlx::query("begin").execute(&mut working).await.unwrap();
    sqlx::query("insert into idempotency_keys (key, fingerprint, request_id) values ('k1', '', 'req_1')")
        .execute(&mut working)
        .await
        .unwrap();

    let in_use = gateway.client().post_with_key("k1", CREATE, &FORM).await.expect(StatusCode::CONFLICT);
    working.close_hard().await.unwrap();
    let resumed = gateway.client().post_with_key("k1", CREATE, &FORM).await.expect(StatusCode::OK);

    assert_eq!(in_use.error(), ("idempotency_error", "idempotency_key_in_use"));
    assert!(!resumed.replayed());
    assert_eq!(gateway.database.count("select count(*) from payment_intents").await, 1);
}

#[tokio::test]
async fn an_intent_that_another_request_holds_long_is_busy() {
    let gateway = Gateway::start().await;
    let intent = gateway.new_intent("7").await;
    let mut tx = gateway.database.pool.begin().await.unwrap();
    sqlx::query("select from payment_intents for update").fetch_all(&mut *tx).await.unwrap();

    let busy = gateway.client().confirm(&intent, "pm_card_visa").await.expect(StatusCode::TOO_MANY_REQUESTS);
    tx.rollback().await.unwrap();

    assert_eq!(busy.error(), ("invalid_request_error", "lock_timeout"));
    gateway.client().confirm(&intent, "pm_card_visa").await.expect(StatusCode::OK);
}
