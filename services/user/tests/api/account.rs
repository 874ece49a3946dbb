//! The account page: name, language, sessions, and the wish to become an organizer.

use axum::http::StatusCode;
use contracts::identity::{AccessClaims, Language};
use serde_json::json;

use crate::helpers::{Answer, Session, TestApp, registration};

fn claims(answer: &Answer) -> AccessClaims {
    jsonwebtoken::dangerous::insecure_decode_claims(&Session::of(answer).access).unwrap()
}

#[tokio::test]
async fn a_language_chosen_at_registration_is_answered_and_stands_in_the_token() {
    let app = TestApp::start().await;
    let mut body = registration("ada");
    body["language"] = json!("de");

    let registered = app.post("/users/register", body).send().await;
    let login = app.tries("ada", crate::helpers::PASSWORD).await;

    assert_eq!((registered.status, &registered.body["language"]), (StatusCode::CREATED, &json!("de")));
    assert_eq!(login.body["user"]["language"], "de");
    assert_eq!(claims(&login).language, Some(Language::De));
}

#[tokio::test]
async fn without_a_choice_there_is_no_language() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;

    let me = app.get("/users/me").bearer(&session).send().await;

    assert!(me.body.get("language").is_none(), "{me:?}");
    let mut body = registration("eve");
    body["language"] = json!("fr");
    app.post("/users/register", body).send().await.is_refused(400, "invalid_json");
}

#[tokio::test]
async fn name_and_language_are_changed_and_the_next_token_carries_them() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;

    let named = app.patch("/users/me", json!({ "name": "  Ada Lovelace " })).bearer(&session).send().await;
    let spoken = app.patch("/users/me", json!({ "language": "de" })).bearer(&session).send().await;
    let next = app.refreshes(&session.refresh).await;

    assert_eq!((named.status, &named.body["name"]), (StatusCode::OK, &json!("Ada Lovelace")));
    assert_eq!((&spoken.body["name"], &spoken.body["language"]), (&json!("Ada Lovelace"), &json!("de")));
    let claims = claims(&next);
    assert_eq!((claims.name.as_str(), claims.language), ("Ada Lovelace", Some(Language::De)));
}

#[tokio::test]
async fn a_profile_is_changed_by_its_owner_and_checked() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;

    app.patch("/users/me", json!({ "name": "x" })).send().await.is_refused(401, "login_required");
    app.patch("/users/me", json!({ "name": " " })).bearer(&session).send().await.is_refused(422, "invalid_request");
    app.patch("/users/me", json!({ "language": "fr" })).bearer(&session).send().await.is_refused(400, "invalid_json");
    app.patch("/users/me", json!({ "role": "admin" })).bearer(&session).send().await.is_refused(400, "invalid_json");
    let same = app.patch("/users/me", json!({})).bearer(&session).send().await;
    assert_eq!((same.status, &same.body["name"]), (StatusCode::OK, &json!("ada")));
}
