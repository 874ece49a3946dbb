//! Signing keys: published, and rotated without a restart; and what tokens do not know yet.

use std::{fs, time::Duration};

use axum::http::{Method, StatusCode};
use contracts::identity::{AccessClaims, RevocationList, Role};
use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use serde_json::json;

use crate::helpers::{Call, PASSWORD, Session, TestApp, write_private_key};

fn kid(session: &Session) -> String {
    jsonwebtoken::decode_header(&session.access).unwrap().kid.unwrap()
}

async fn published(app: &TestApp) -> Vec<String> {
    let answer = app.get("/.well-known/jwks.json").send().await;
    let keys = answer.body["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_token_verifies_by_the_published_keys() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;

    let answer = app.get("/.well-known/jwks.json").send().await;

    let key = &answer.body["keys"][0];
    for (field, value) in [("kty", "OKP"), ("crv", "Ed25519"), ("alg", "EdDSA"), ("use", "sig"), ("kid", "2026-01")] {
        assert_eq!(key[field], value);
    }
    assert_eq!(key.as_object().unwrap().len(), 6, "and x; no private part");
    let set: JwkSet = serde_json::from_value(answer.body).unwrap();
    let key = DecodingKey::from_jwk(set.find(&kid(&session)).unwrap()).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_audience(&["eventbooking"]);
    jsonwebtoken::decode::<serde_json::Value>(&session.access, &key, &validation).unwrap();
}

#[tokio::test]
async fn a_new_key_is_published_first_and_signs_later() {
    let app = TestApp::start().await;
    let before = app.user("ada").await;
    write_private_key(app.folder.path(), "2026-02");

    assert!(app.state.signing.reload().await.unwrap());
    assert_eq!(published(&app).await, ["2026-01", "2026-02"]);
    assert_eq!(kid(&app.logs_in("ada").await), "2026-01", "not every verifier knows the new one yet");
    app.later(Duration::from_secs(121)).await;
    let after = app.logs_in("ada").await;

    assert_eq!(kid(&after), "2026-02");
    assert_eq!(app.get("/users/me").bearer(&before).send().await.status, StatusCode::OK);
    assert_eq!(app.get("/users/me").bearer(&after).send().await.status, StatusCode::OK);
    assert!(!app.state.signing.reload().await.unwrap(), "nothing changed");
}

#[tokio::test]
async fn a_replica_that_starts_during_a_rotation_signs_with_the_older_key_first() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    write_private_key(app.folder.path(), "2026-02");
    let replica = app.replica();
    let login = json!({ "email": "ada@example.org", "password": PASSWORD });
    let log_in = || Call::new(&replica, Method::POST, "/users/login").json(&login).send();

    let first = Session::of(&log_in().await);
    app.later(Duration::from_secs(121)).await;
    let later = Session::of(&log_in().await);

    assert_eq!((kid(&first).as_str(), kid(&later).as_str()), ("2026-01", "2026-02"));
}

#[tokio::test]
async fn a_removed_key_no_longer_verifies() {
    let app = TestApp::start().await;
    let before = app.user("ada").await;
    write_private_key(app.folder.path(), "2026-02");
    app.state.signing.reload().await.unwrap();
    fs::remove_file(app.folder.path().join("2026-01.pem")).unwrap();

    app.state.signing.reload().await.unwrap();

    assert_eq!(published(&app).await, ["2026-02"]);
    app.get("/users/me").bearer(&before).send().await.assert_refused(401, "invalid_token");
    let after = app.logs_in("ada").await;
    assert_eq!(app.get("/users/me").bearer(&after).send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_invalid_folder_changes_nothing() {
    let app = TestApp::start().await;
    fs::write(app.folder.path().join("2026-02.pem"), "no key").unwrap();

    assert!(app.state.signing.reload().await.is_err());
    assert_eq!(published(&app).await, ["2026-01"]);
    fs::remove_file(app.folder.path().join("2026-02.pem")).unwrap();
    fs::remove_file(app.folder.path().join("2026-01.pem")).unwrap();
    assert!(app.state.signing.reload().await.is_err(), "an empty folder");
    assert_eq!(published(&app).await, ["2026-01"]);
}

pub(crate) fn sid(session: &Session) -> String {
    let claims: AccessClaims = jsonwebtoken::dangerous::insecure_decode_claims(&session.access).unwrap();
    claims.sid
}

pub(crate) async fn revocations(app: &TestApp) -> RevocationList {
    let answer = app.get("/.well-known/revocations.json").send().await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    serde_json::from_value(answer.body).unwrap()
}

#[tokio::test]
async fn ended_sessions_are_published_while_their_tokens_are_valid() {
    let app = TestApp::start().await;
    let ada = app.registers("ada").await;
    let admin = app.admin().await;
    let (left, changed) = (app.logs_in("ada").await, app.logs_in("ada").await);
    let disabled = app.user("eve").await;
    let eve = app.get("/users/me").bearer(&disabled).send().await.body["id"].clone();
    assert_eq!(revocations(&app).await, RevocationList::default());

    app.post("/users/logout", json!({ "refresh_token": left.refresh })).send().await;
    assert_eq!(revocations(&app).await.sessions, [sid(&left)]);
    let here = app.logs_in("ada").await;
    let change = json!({ "current_password": PASSWORD, "new_password": "another fine password" });
    assert_eq!(app.post("/users/me/password", change).bearer(&here).send().await.status, StatusCode::NO_CONTENT);
    app.patch(&format!("/users/{eve}"), json!({ "status": "disabled" })).bearer(&admin).send().await;
    app.patch(&format!("/users/{ada}"), json!({ "role": "organizer" })).bearer(&admin).send().await;

    let list = revocations(&app).await;
    let mut expected = [sid(&left), sid(&changed), sid(&disabled)];
    expected.sort();
    assert_eq!(list.sessions, expected, "and not the one that changed its password");
    assert_eq!(list.roles, [(ada, Role::Organizer)].into());
    app.later(Duration::from_secs(600 + 60)).await;
    assert_eq!(revocations(&app).await, list, "a token may be taken for valid a minute longer");
    app.later(Duration::from_secs(61)).await;
    assert_eq!(revocations(&app).await, RevocationList::default());
}

#[tokio::test]
async fn a_role_changed_by_an_older_version_or_by_hand_is_published_too() {
    let app = TestApp::start().await;
    let ada = app.registers("ada").await;

    sqlx::query("update users set name = 'Ada' where id = $1").bind(ada).execute(app.pool()).await.unwrap();
    assert_eq!(revocations(&app).await, RevocationList::default());
    sqlx::query("update users set role = 'admin' where id = $1").bind(ada).execute(app.pool()).await.unwrap();

    assert_eq!(revocations(&app).await.roles, [(ada, Role::Admin)].into());
}

#[tokio::test]
async fn an_unchanged_list_is_not_sent_again() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;
    let first = app.get("/.well-known/revocations.json").send().await;
    let again = || app.get("/.well-known/revocations.json").header("if-none-match", first.header("etag")).send();

    let unchanged = again().await;
    app.post("/users/logout", json!({ "refresh_token": session.refresh })).send().await;
    let changed = again().await;

    assert_eq!((unchanged.status, &unchanged.body), (StatusCode::NOT_MODIFIED, &json!(null)));
    assert_eq!((changed.status, &changed.body["sessions"]), (StatusCode::OK, &json!([sid(&session)])));
    assert_ne!(changed.header("etag"), first.header("etag"));
}
