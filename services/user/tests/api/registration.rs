//! Registration.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use futures::future::join_all;
use serde_json::json;

use crate::helpers::{PASSWORD, TestApp, registration};

#[tokio::test]
async fn a_registered_user_can_log_in() {
    let app = TestApp::start().await;

    let registered = app.post("/users/register", registration("ada")).send().await;
    let login = app.tries("ada", PASSWORD).await;

    assert_eq!(registered.status, StatusCode::CREATED);
    assert!(registered.body["id"].is_i64());
    assert_eq!(registered.body["email"], "ada@example.org");
    assert_eq!(registered.body["name"], "ada");
    assert_eq!(registered.body["role"], "attendee");
    assert_eq!(registered.body["status"], "active");
    assert!(registered.body["created_at"].as_str().unwrap().ends_with('Z'));
    assert!(!registered.body.to_string().contains("password"), "{registered:?}");
    assert_eq!(login.status, StatusCode::OK);
}

#[tokio::test]
async fn a_taken_address_is_refused_in_any_case() {
    let app = TestApp::start().await;
    app.registers("ada").await;

    let mut body = registration("ada");
    body["email"] = json!(" ADA@Example.ORG ");
    let again = app.post("/users/register", body).send().await;

    again.assert_refused(409, "email_taken");
}

#[tokio::test]
async fn one_of_many_concurrent_registrations_of_an_address_wins() {
    let app = TestApp::start().await;

    let answers = join_all((0..10).map(|_| app.post("/users/register", registration("ada")).send())).await;

    let created = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    let taken = answers.iter().filter(|answer| answer.code() == "email_taken").count();
    assert_eq!((created, taken), (1, 9));
}

#[tokio::test]
async fn twenty_identical_registrations_under_one_key_make_one_user_and_one_answer() {
    let app = TestApp::start().await;

    let send = |_| app.post("/users/register", registration("ada")).header("idempotency-key", "key-1").send();
    let answers = join_all((0..20).map(send)).await;

    let distinct: BTreeSet<_> = answers.iter().map(|a| (a.status.as_u16(), a.body.to_string())).collect();
    assert_eq!(distinct.len(), 1, "{distinct:?}");
    assert_eq!(answers[0].status, StatusCode::CREATED);
    let users: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(app.pool()).await.unwrap();
    assert_eq!(users, 1);
}

#[tokio::test]
async fn a_registration_that_a_crash_interrupted_is_resumed() {
    let app = TestApp::start().await;
    let send = || app.post("/users/register", registration("ada")).header("idempotency-key", "key-1").send();
    let first = send().await;
    // As if the process had died after making the user and before storing the answer.
    sqlx::query("update idempotency_keys set status = null, body = null, lease_until = now() - interval '1 second'")
        .execute(app.pool())
        .await
        .unwrap();

    let resumed = send().await;

    assert_eq!((resumed.status, &resumed.body), (StatusCode::CREATED, &first.body));
}

#[tokio::test]
async fn a_key_is_bound_to_its_body() {
    let app = TestApp::start().await;
    app.post("/users/register", registration("ada")).header("idempotency-key", "key-1").send().await;

    let mut other = registration("ada");
    other["password"] = json!("another password");
    let reused = app.post("/users/register", other).header("idempotency-key", "key-1").send().await;

    reused.assert_refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_refused_registration_gets_the_same_answer_again() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let send = || app.post("/users/register", registration("ada")).header("idempotency-key", "key-1").send();

    let (first, second) = (send().await, send().await);

    first.assert_refused(409, "email_taken");
    second.assert_refused(409, "email_taken");
}

#[tokio::test]
async fn every_invalid_field_of_a_body_is_named() {
    let app = TestApp::start().await;

    let body = json!({ "email": "nobody", "password": "short", "name": " ", "role": "admin" });
    let answer = app.post("/users/register", body).send().await;

    answer.assert_refused(422, "invalid_request");
    let fields: Vec<_> = answer.body["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["email", "name", "password", "role"]);
}

#[tokio::test]
async fn an_invalid_body_is_a_problem() {
    let app = TestApp::start().await;
    let mut unknown = registration("ada");
    unknown["is_admin"] = json!(true);

    app.post("/users/register", unknown).send().await.assert_refused(400, "invalid_json");
    app.call(Method::POST, "/users/register").body("{").send().await.assert_refused(400, "invalid_json");
    app.call(Method::POST, "/users/register").send().await.assert_refused(400, "invalid_json");
    let large = app.call(Method::POST, "/users/register").body(vec![b' '; 70_000]).send().await;
    large.assert_refused(413, "body_too_large");
    let plain = app.post("/users/register", registration("ada")).header("content-type", "text/plain").send().await;
    plain.assert_refused(415, "unsupported_media_type");
    app.get("/users/register").send().await.assert_refused(405, "method_not_allowed");
    app.get("/users/nothing/here").send().await.assert_refused(404, "route_not_found");
    let key = app.post("/users/register", registration("ada")).header("idempotency-key", "a b").send().await;
    key.assert_refused(400, "invalid_idempotency_key");
}

#[tokio::test]
async fn an_organizer_needs_no_approval_by_default() {
    let app = TestApp::start().await;

    let mut body = registration("olga");
    body["role"] = json!("organizer");
    let answer = app.post("/users/register", body).send().await;

    assert_eq!(answer.body["role"], "organizer");
    assert_eq!(answer.body["requested_role"], json!(null));
}

#[tokio::test]
async fn an_organizer_awaits_an_admin_if_approval_is_required() {
    let app = TestApp::with(&["--organizer-approval", "true"]).await;
    let admin = app.admin().await;
    let mut body = registration("olga");
    body["role"] = json!("organizer");

    let registered = app.post("/users/register", body).send().await;
    let pending = app.get("/users?status=pending").bearer(&admin).send().await;
    let path = format!("/users/{}", registered.body["id"]);
    let approved = app.patch(&path, json!({ "role": "organizer" })).bearer(&admin).send().await;
    let olga = app.logs_in("olga").await;
    let me = app.get("/users/me").bearer(&olga).send().await;
    let pending_after = app.get("/users?status=pending").bearer(&admin).send().await;

    assert_eq!(
        (&registered.body["role"], &registered.body["requested_role"]),
        (&json!("attendee"), &json!("organizer"))
    );
    assert_eq!(registered.body["status"], "active");
    assert_eq!(pending.body["items"][0]["email"], "olga@example.org");
    assert_eq!((&approved.body["role"], &approved.body["requested_role"]), (&json!("organizer"), &json!(null)));
    assert_eq!(me.body["role"], "organizer");
    assert_eq!(pending_after.body["items"], json!([]));
}
