//! The account page: name, language, sessions, and the wish to become an organizer.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use contracts::identity::{AccessClaims, Language};
use serde_json::json;

use crate::helpers::{Answer, PASSWORD, Session, TestApp, registration};

fn claims(answer: &Answer) -> AccessClaims {
    jsonwebtoken::dangerous::insecure_decode_claims(&Session::of(answer).access).unwrap()
}

#[tokio::test]
async fn a_language_chosen_at_registration_is_in_the_answer_and_the_token() {
    let app = TestApp::start().await;
    let mut body = registration("ada");
    body["language"] = json!("de");

    let registered = app.post("/users/register", body).send().await;
    let login = app.tries("ada", PASSWORD).await;

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
    app.post("/users/register", body).send().await.assert_refused(400, "invalid_json");
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

    app.patch("/users/me", json!({ "name": "x" })).send().await.assert_refused(401, "login_required");
    app.patch("/users/me", json!({ "name": " " })).bearer(&session).send().await.assert_refused(422, "invalid_request");
    app.patch("/users/me", json!({ "language": "fr" }))
        .bearer(&session)
        .send()
        .await
        .assert_refused(400, "invalid_json");
    app.patch("/users/me", json!({ "role": "admin" }))
        .bearer(&session)
        .send()
        .await
        .assert_refused(400, "invalid_json");
    let same = app.patch("/users/me", json!({})).bearer(&session).send().await;
    assert_eq!((same.status, &same.body["name"]), (StatusCode::OK, &json!("ada")));
}

/// A login as from that program.
async fn logs_in_with(app: &TestApp, user_agent: &str) -> Session {
    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    Session::of(&app.post("/users/login", body).header("user-agent", user_agent).send().await)
}

#[tokio::test]
async fn sessions_are_listed_with_device_and_last_use() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    app.user("eve").await;
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";
    let elder = logs_in_with(&app, firefox).await;
    app.later(Duration::from_secs(60)).await;
    let elder = Session::of(&app.refreshes(&elder.refresh).await);
    logs_in_with(&app, "curl/8.5.0").await;

    let answer = app.get("/users/me/sessions").bearer(&elder).send().await;

    assert_eq!((answer.status, &answer.body["next_cursor"]), (StatusCode::OK, &json!(null)));
    let [latest, first] = &answer.body["items"].as_array().unwrap()[..] else { panic!("{answer:?}") };
    assert_eq!(
        (&latest["browser"], latest.get("operating_system"), &latest["current"]),
        (&json!("curl"), None, &json!(false))
    );
    assert_eq!((&first["browser"], &first["operating_system"]), (&json!("Firefox"), &json!("Linux")));
    assert_eq!(first["current"], true);
    assert!(first["last_used_at"].as_str() > first["created_at"].as_str(), "{first}");
}

#[tokio::test]
async fn a_list_of_sessions_has_pages() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;
    for _ in 0..4 {
        app.logs_in("ada").await;
    }

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app.get(&format!("/users/me/sessions?limit=2{cursor}")).bearer(&session).send().await;
        seen.extend(page.body["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }

    assert_eq!(seen.len(), 5);
    assert!((1..5).all(|i| !seen[..i].contains(&seen[i])), "{seen:?}");
    let odd = app.get("/users/me/sessions?cursor=x").bearer(&session).send().await;
    odd.assert_refused(400, "invalid_cursor");
}

#[tokio::test]
async fn one_session_or_all_others_are_ended() {
    let app = TestApp::start().await;
    let here = app.user("ada").await;
    let (one, two, three) = (app.logs_in("ada").await, app.logs_in("ada").await, app.logs_in("ada").await);
    let id = |session: &Session| {
        let claims: AccessClaims = jsonwebtoken::dangerous::insecure_decode_claims(&session.access).unwrap();
        claims.sid
    };

    let path = format!("/users/me/sessions/{}", id(&one));
    let ended = app.call(Method::DELETE, &path).bearer(&here).send().await;

    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    app.refreshes(&one.refresh).await.assert_refused(401, "session_over");
    app.call(Method::DELETE, &path).bearer(&here).send().await.assert_refused(404, "session_not_found");
    assert_eq!(app.get("/users/me").bearer(&two).send().await.status, StatusCode::OK);

    let others = app.call(Method::DELETE, "/users/me/sessions").bearer(&here).send().await;

    assert_eq!(others.status, StatusCode::NO_CONTENT);
    for session in [two, three] {
        app.get("/users/me").bearer(&session).send().await.assert_refused(401, "session_over");
    }
    assert_eq!(app.refreshes(&here.refresh).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_of_another_user_is_not_found() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let claims: AccessClaims = jsonwebtoken::dangerous::insecure_decode_claims(&ada.access).unwrap();
    let path = format!("/users/me/sessions/{}", claims.sid);

    app.call(Method::DELETE, &path).bearer(&eve).send().await.assert_refused(404, "session_not_found");
    app.call(Method::DELETE, &path).send().await.assert_refused(401, "login_required");
    app.call(Method::DELETE, "/users/me/sessions").send().await.assert_refused(401, "login_required");
    app.get("/users/me/sessions").send().await.assert_refused(401, "login_required");
    assert_eq!(app.get("/users/me").bearer(&ada).send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_attendee_asks_to_become_an_organizer_and_an_admin_decides() {
    let app = TestApp::start().await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    let ask = || app.call(Method::PUT, "/users/me/organizer-request").bearer(&ada).send();
    let pending = || app.get("/users?status=pending").bearer(&admin).send();

    let asked = ask().await;
    assert_eq!((asked.status, &asked.body["requested_role"]), (StatusCode::OK, &json!("organizer")));
    assert_eq!(asked.body["role"], "attendee");
    assert_eq!(ask().await.status, StatusCode::OK, "asking twice is asking once");
    assert_eq!(pending().await.body["items"].as_array().unwrap().len(), 1);

    let withdrawn = app.call(Method::DELETE, "/users/me/organizer-request").bearer(&ada).send().await;
    assert_eq!((withdrawn.status, withdrawn.body.get("requested_role")), (StatusCode::OK, None));
    assert_eq!(pending().await.body["items"], json!([]));

    let path = format!("/users/{}", ask().await.body["id"]);
    let declined = app.patch(&path, json!({ "role": "attendee" })).bearer(&admin).send().await;
    assert_eq!((&declined.body["role"], declined.body.get("requested_role")), (&json!("attendee"), None));

    ask().await;
    let approved = app.patch(&path, json!({ "role": "organizer" })).bearer(&admin).send().await;
    assert_eq!((&approved.body["role"], approved.body.get("requested_role")), (&json!("organizer"), None));
    ask().await.assert_refused(409, "already_organizer");
    app.call(Method::PUT, "/users/me/organizer-request").send().await.assert_refused(401, "login_required");
}
