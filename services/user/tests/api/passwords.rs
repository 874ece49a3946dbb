//! Change and reset of passwords.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use futures::future::join;
use serde_json::json;

use crate::helpers::{Answer, PASSWORD, Session, TestApp, registration};

const NEXT: &str = "another fine password";

async fn change(app: &TestApp, session: &Session, current: &str, new: &str) -> Answer {
    let body = json!({ "current_password": current, "new_password": new });
    app.post("/users/me/password", body).bearer(session).send().await
}

async fn reset_token(app: &TestApp, admin: &Session, id: i32) -> String {
    let answer = app.call(Method::POST, &format!("/users/{id}/password-reset")).bearer(admin).send().await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert!(answer.body["expires_at"].as_str().unwrap().ends_with('Z'));
    answer.body["reset_token"].as_str().unwrap().to_owned()
}

async fn reset(app: &TestApp, token: &str, new: &str) -> Answer {
    app.post("/users/password-reset", json!({ "reset_token": token, "new_password": new })).send().await
}

#[tokio::test]
async fn a_changed_password_keeps_this_session_and_ends_the_others() {
    let app = TestApp::start().await;
    let here = app.user("ada").await;
    let elsewhere = app.logs_in("ada").await;

    let changed = change(&app, &here, PASSWORD, NEXT).await;

    assert_eq!(changed.status, StatusCode::NO_CONTENT);
    assert_eq!(app.refreshes(&here.refresh).await.status, StatusCode::OK);
    app.refreshes(&elsewhere.refresh).await.assert_refused(401, "session_over");
    app.tries("ada", PASSWORD).await.assert_refused(401, "invalid_credentials");
    assert_eq!(app.tries("ada", NEXT).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_change_needs_the_current_password() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;

    change(&app, &session, "wrong password", NEXT).await.assert_refused(403, "wrong_password");
    change(&app, &session, PASSWORD, "short").await.assert_refused(422, "invalid_request");
    app.post("/users/me/password", json!({})).send().await.assert_refused(401, "login_required");
    app.post("/users/me/password", json!({})).bearer(&session).send().await.assert_refused(400, "invalid_json");
    for _ in 0..9 {
        change(&app, &session, "wrong password", NEXT).await;
    }
    change(&app, &session, PASSWORD, NEXT).await.assert_refused(429, "too_many_attempts");
}

#[tokio::test]
async fn a_common_password_or_a_variant_of_the_address_is_refused() {
    let app = TestApp::start().await;
    let mut body = registration("ada.lovelace");
    let id = app.registers("ada.lovelace").await;
    let session = app.logs_in("ada.lovelace").await;
    let token = reset_token(&app, &app.admin().await, id).await;

    for weak in ["Password1", "iloveyou", "ada.lovelace@example.org", "AdaLovelace1815!"] {
        change(&app, &session, PASSWORD, weak).await.assert_refused(422, "invalid_request");
        reset(&app, &token, weak).await.assert_refused(422, "invalid_request");
        body["password"] = json!(weak);
        let registered = app.post("/users/register", body.clone()).send().await;
        registered.assert_refused(422, "invalid_request");
        assert_eq!(registered.body["errors"][0]["field"], "password");
    }
    assert_eq!(reset(&app, &token, NEXT).await.status, StatusCode::NO_CONTENT, "the token was not used up");
}

#[tokio::test]
async fn a_hash_with_old_parameters_is_renewed_at_login() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let stored = || sqlx::query_scalar::<_, String>("select password_hash from users").fetch_one(app.pool());
    let mut hash = [0; 32];
    let params = argon2::Params::new(8192, 1, 1, None).unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(PASSWORD.as_bytes(), &[7; 16], &mut hash)
        .unwrap();
    let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    let elder = format!("$argon2id$v=19$m=8192,t=1,p=1${}${}", encode(&[7; 16]), encode(&hash));
    sqlx::query("update users set password_hash = $1").bind(&elder).execute(app.pool()).await.unwrap();

    app.tries("ada", "wrong password").await.assert_refused(401, "invalid_credentials");
    assert_eq!(stored().await.unwrap(), elder);
    let (one, two) = join(app.tries("ada", PASSWORD), app.tries("ada", PASSWORD)).await;
    assert_eq!((one.status, two.status), (StatusCode::OK, StatusCode::OK));

    let renewed = stored().await.unwrap();
    assert!(renewed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed}");
    app.logs_in("ada").await;
    assert_eq!(stored().await.unwrap(), renewed, "once is enough");
}

#[tokio::test]
async fn one_of_two_concurrent_changes_wins() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;

    let (one, two) =
        join(change(&app, &session, PASSWORD, "first new one"), change(&app, &session, PASSWORD, "second new one"))
            .await;

    let fits = |answer: &Answer| answer.status == StatusCode::NO_CONTENT;
    assert!(fits(&one) != fits(&two), "{one:?} {two:?}");
    let winner = if fits(&one) { "first new one" } else { "second new one" };
    assert_eq!(app.tries("ada", winner).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_reset_token_sets_a_password_once_and_ends_every_session() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;
    let (admin, session) = (app.admin().await, app.logs_in("ada").await);
    let token = reset_token(&app, &admin, id).await;

    let used = reset(&app, &token, NEXT).await;

    assert_eq!(used.status, StatusCode::NO_CONTENT);
    app.refreshes(&session.refresh).await.assert_refused(401, "session_over");
    assert_eq!(app.tries("ada", NEXT).await.status, StatusCode::OK);
    reset(&app, &token, "yet another one").await.assert_refused(422, "invalid_reset_token");
}

#[tokio::test]
async fn a_reset_token_used_twice_concurrently_works_once() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;
    let token = reset_token(&app, &app.admin().await, id).await;

    let (one, two) = join(reset(&app, &token, "first new one"), reset(&app, &token, "second new one")).await;

    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 422]);
}

#[tokio::test]
async fn an_invalid_replaced_or_expired_reset_token_does_nothing() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;
    let admin = app.admin().await;
    let replaced = reset_token(&app, &admin, id).await;
    let latest = reset_token(&app, &admin, id).await;

    reset(&app, "made up", NEXT).await.assert_refused(422, "invalid_reset_token");
    reset(&app, &replaced, NEXT).await.assert_refused(422, "invalid_reset_token");
    reset(&app, &latest, "short").await.assert_refused(422, "invalid_request");
    app.later(Duration::from_secs(3601)).await;
    reset(&app, &latest, NEXT).await.assert_refused(422, "invalid_reset_token");
    assert_eq!(app.tries("ada", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_reset_lifts_the_limits_of_the_account() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;
    for _ in 0..10 {
        app.tries("ada", "wrong password").await;
    }
    let token = reset_token(&app, &app.admin().await, id).await;

    reset(&app, &token, NEXT).await;

    assert_eq!(app.tries("ada", NEXT).await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_admins_create_reset_tokens() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;
    let (ada, admin) = (app.logs_in("ada").await, app.admin().await);
    let path = format!("/users/{id}/password-reset");

    app.call(Method::POST, &path).send().await.assert_refused(401, "login_required");
    app.call(Method::POST, &path).bearer(&ada).send().await.assert_refused(403, "role_required");
    let unknown = app.call(Method::POST, "/users/999999/password-reset").bearer(&admin).send().await;
    unknown.assert_refused(404, "user_not_found");
}
