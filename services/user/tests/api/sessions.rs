//! Login, refresh and logout, by tokens and by cookies.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use contracts::identity::AccessClaims;
use futures::future::join_all;
use serde_json::json;

use crate::helpers::{Call, PASSWORD, Session, TestApp};

#[tokio::test]
async fn a_login_answers_tokens() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;

    let answer = app.tries("ada", PASSWORD).await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!((&answer.body["token_type"], &answer.body["expires_in"]), (&json!("Bearer"), &json!(600)));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.set_cookies().is_empty());
    let session = Session::of(&answer);
    let claims: AccessClaims = jsonwebtoken::dangerous::insecure_decode_claims(&session.access).unwrap();
    assert_eq!((claims.iss.as_str(), claims.aud.as_str()), ("user-service", "eventbooking"));
    assert_eq!((claims.sub, claims.email.as_str(), claims.name.as_str()), (id.to_string(), "ada@example.org", "ada"));
    assert_eq!(claims.exp - claims.iat, 600);
    let header = jsonwebtoken::decode_header(&session.access).unwrap();
    assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some("at+jwt"), Some("2026-01")));
    let me = app.get("/users/me").bearer(&session).send().await;
    assert_eq!((me.status, &me.body["id"]), (StatusCode::OK, &json!(id)));
}

#[tokio::test]
async fn the_case_of_the_address_does_not_matter_at_login() {
    let app = TestApp::start().await;
    app.registers("ada").await;

    let answer = app.post("/users/login", json!({ "email": "ADA@example.Org", "password": PASSWORD })).send().await;

    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_look_alike() {
    let app = TestApp::start().await;
    app.registers("ada").await;

    let wrong = app.tries("ada", "wrong password").await;
    let unknown = app.tries("nobody", "wrong password").await;
    let malformed = app.post("/users/login", json!({ "email": "\u{0}", "password": "x".repeat(60_000) })).send().await;

    for answer in [&wrong, &unknown, &malformed] {
        answer.assert_refused(401, "invalid_credentials");
        assert_eq!(answer.body["detail"], wrong.body["detail"]);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let hashed = || {
        let rendered = platform::telemetry::metrics_handle().render();
        let line = rendered.lines().find(|line| line.starts_with("eventplatform_password_hash_seconds_count")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    platform::telemetry::metrics_handle();
    app.tries("ada", PASSWORD).await;

    // Other tests hash at the same time, so at least one more each; never none.
    let before = hashed();
    app.tries("nobody", "wrong password").await;
    let between = hashed();
    app.tries("ada", "wrong password").await;
    let after = hashed();

    assert!(between > before && after > between, "{before} {between} {after}");
}

#[tokio::test]
async fn a_refresh_returns_new_tokens_with_the_current_role() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;
    let admin = app.admin().await;
    let id = app.get("/users/me").bearer(&session).send().await.body["id"].clone();
    app.patch(&format!("/users/{id}"), json!({ "role": "organizer" })).bearer(&admin).send().await;

    let answer = app.refreshes(&session.refresh).await;

    assert_eq!(answer.status, StatusCode::OK);
    let next = Session::of(&answer);
    assert_ne!(next.refresh, session.refresh);
    let claims: AccessClaims = jsonwebtoken::dangerous::insecure_decode_claims(&next.access).unwrap();
    assert_eq!(claims.role.as_str(), "organizer");
    let third = app.refreshes(&next.refresh).await;
    assert_eq!(third.status, StatusCode::OK);
}

#[tokio::test]
async fn two_concurrent_refreshes_get_the_same_successor() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;
    let other = app.replica();

    let refresh = json!({ "refresh_token": session.refresh });
    let answers = join_all((0..10).map(|i| {
        let here = app.post("/users/token/refresh", refresh.clone());
        let there = Call::new(&other, Method::POST, "/users/token/refresh").json(&refresh);
        if i % 2 == 0 { here.send() } else { there.send() }
    }))
    .await;

    let first = Session::of(&answers[0]).refresh;
    assert!(answers.iter().all(|answer| Session::of(answer).refresh == first));
    let tokens: i64 = sqlx::query_scalar("select count(*) from refresh_tokens").fetch_one(app.pool()).await.unwrap();
    assert_eq!(tokens, 2, "the first one and its one successor");
}

#[tokio::test]
async fn a_rotated_token_is_accepted_for_thirty_seconds() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;
    let successor = Session::of(&app.refreshes(&session.refresh).await).refresh;
    app.later(Duration::from_secs(25)).await;

    let again = app.refreshes(&session.refresh).await;

    assert_eq!(Session::of(&again).refresh, successor);
}

#[tokio::test]
async fn a_rotated_token_used_later_revokes_the_session() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;
    let elsewhere = app.logs_in("ada").await;
    let next = Session::of(&app.refreshes(&session.refresh).await);
    app.later(Duration::from_secs(31)).await;

    let reused = app.refreshes(&session.refresh).await;

    reused.assert_refused(401, "refresh_token_reused");
    app.refreshes(&next.refresh).await.assert_refused(401, "session_over");
    app.refreshes(&session.refresh).await.assert_refused(401, "refresh_token_reused");
    app.get("/users/me").bearer(&next).send().await.assert_refused(401, "session_over");
    assert_eq!(app.refreshes(&elsewhere.refresh).await.status, StatusCode::OK, "other sessions go on");
}

#[tokio::test]
async fn no_token_is_stored() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;
    let next = Session::of(&app.refreshes(&session.refresh).await);

    let stored: Vec<String> = sqlx::query_scalar(
        "select refresh_tokens::text || sessions::text from refresh_tokens join sessions on session_id = id",
    )
    .fetch_all(app.pool())
    .await
    .unwrap();

    let dump = stored.join("\n");
    for token in [&session.refresh, &next.refresh] {
        let hex = hex::encode(token);
        assert!(!dump.contains(token.as_str()) && !dump.contains(&hex));
    }
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_refreshed() {
    let app = TestApp::with(&["--refresh-token-days", "2"]).await;
    let session = app.user("ada").await;
    app.later(Duration::from_secs(86_400)).await;
    let next = Session::of(&app.refreshes(&session.refresh).await);
    app.later(Duration::from_secs(86_400 + 3600)).await;
    let third = app.refreshes(&next.refresh).await;
    assert_eq!(third.status, StatusCode::OK, "a refresh prolongs it");
    let third = Session::of(&third);
    app.later(Duration::from_secs(2 * 86_400 + 1)).await;

    app.refreshes(&third.refresh).await.assert_refused(401, "session_over");
}

#[tokio::test]
async fn an_access_token_expires() {
    let app = TestApp::with(&["--access-token-seconds", "60"]).await;
    let session = app.user("ada").await;
    app.later(Duration::from_secs(121)).await;

    app.get("/users/me").bearer(&session).send().await.assert_refused(401, "token_expired");
}

#[tokio::test]
async fn invalid_tokens_are_refused() {
    let app = TestApp::start().await;

    app.refreshes("made up").await.assert_refused(401, "invalid_refresh_token");
    app.refreshes("").await.assert_refused(401, "invalid_refresh_token");
    app.post("/users/token/refresh", json!({})).send().await.assert_refused(401, "invalid_refresh_token");
    app.call(Method::POST, "/users/token/refresh").send().await.assert_refused(401, "invalid_refresh_token");
    app.post("/users/token/refresh", json!({ "token": "x" })).send().await.assert_refused(400, "invalid_json");
    app.get("/users/me").send().await.assert_refused(401, "login_required");
    app.get("/users/me").header("authorization", "Bearer x.y.z").send().await.assert_refused(401, "invalid_token");
}

#[tokio::test]
async fn logout_ends_the_session_and_can_be_repeated() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;
    let body = json!({ "refresh_token": session.refresh });

    let first = app.post("/users/logout", body.clone()).send().await;
    let second = app.post("/users/logout", body).send().await;

    assert_eq!((first.status, second.status), (StatusCode::NO_CONTENT, StatusCode::NO_CONTENT));
    app.refreshes(&session.refresh).await.assert_refused(401, "session_over");
    app.get("/users/me").bearer(&session).send().await.assert_refused(401, "session_over");
    assert_eq!(app.call(Method::POST, "/users/logout").send().await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.post("/users/logout", json!({ "refresh_token": "x" })).send().await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_browser_gets_cookies_and_no_tokens() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;

    let body = json!({ "email": "ada@example.org", "password": PASSWORD, "session": "cookie" });
    let answer = app.post("/users/login", body).send().await;

    assert_eq!((&answer.body["token_type"], &answer.body["user"]["id"]), (&json!("Cookie"), &json!(id)));
    assert_eq!(answer.body["expires_in"], 600);
    assert!(answer.body.get("access_token").is_none() && answer.body.get("refresh_token").is_none());
    let [access, refresh, device] = answer.set_cookies()[..] else { panic!("{answer:?}") };
    for cookie in [access, refresh, device] {
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    }
    assert!(access.contains("evp8080_access=") && access.contains("Path=/;") && access.contains("Max-Age=600"));
    assert!(
        refresh.contains("evp8080_refresh=") && refresh.contains("Path=/users;") && refresh.contains("Max-Age=2592000")
    );
    assert!(device.contains("evp8080_device=") && device.contains("Path=/users/login;"), "{device}");
    let me = app.get("/users/me").header("cookie", &answer.cookies()).send().await;
    assert_eq!((me.status, &me.body["id"]), (StatusCode::OK, &json!(id)));
}

#[tokio::test]
async fn a_cookie_session_refreshes_and_logs_out_by_cookie() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let cookies = app.logs_in_by_cookie("ada").await;

    let refreshed = app.call(Method::POST, "/users/token/refresh").cookies(&cookies).send().await;
    let next = refreshed.cookies();
    let logout = app.post("/users/logout", json!({})).cookies(&next).send().await;
    let after = app.post("/users/token/refresh", json!({})).cookies(&next).send().await;

    assert_eq!((refreshed.status, &refreshed.body["token_type"]), (StatusCode::OK, &json!("Cookie")));
    assert!(refreshed.body.get("refresh_token").is_none());
    assert_ne!(next, cookies);
    assert_eq!(logout.status, StatusCode::NO_CONTENT);
    assert!(logout.set_cookies().iter().all(|cookie| cookie.contains("Max-Age=0")));
    after.assert_refused(401, "session_over");
    assert_eq!(after.set_cookies().len(), 2, "cookies that are over are cleared");
}

#[tokio::test]
async fn over_https_the_access_cookie_is_bound_to_the_host_and_its_earlier_name_still_counts() {
    let app = TestApp::with(&["--public-url", "https://tickets.example"]).await;
    app.registers("ada").await;
    let body = json!({ "email": "ada@example.org", "password": PASSWORD, "session": "cookie" });

    let answer = app.post("/users/login", body).send().await;

    let access = answer.set_cookies()[0].to_owned();
    assert!(access.starts_with("__Host-evp443_access=") && access.ends_with("; Secure"), "{access}");
    assert!(access.contains("; Path=/; ") && !access.contains("Domain"), "{access}");
    assert!(answer.set_cookies()[1].starts_with("__Secure-evp443_refresh="));
    let token = access.split([';', '=']).nth(1).unwrap();
    for name in ["__Host-evp443_access", "__Secure-evp443_access"] {
        let me = app.get("/users/me").header("cookie", &format!("{name}={token}")).send().await;
        assert_eq!(me.status, StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn any_valid_one_of_duplicate_cookies_counts() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let stale = app.logs_in_by_cookie("ada").await;
    let next = app.call(Method::POST, "/users/token/refresh").cookies(&stale).send().await.cookies();
    app.later(Duration::from_secs(60)).await;
    let junk = "evp8080_access=x; evp8080_refresh=y";

    for duplicates in [format!("{junk}; {next}"), format!("{next}; {junk}")] {
        let me = app.get("/users/me").header("cookie", &duplicates).send().await;
        assert_eq!(me.status, StatusCode::OK, "{duplicates}");
    }
    // The one that was rotated long ago would close the session if it came alone.
    let refreshed = app.call(Method::POST, "/users/token/refresh").cookies(&format!("{junk}; {stale}; {next}")).send();
    let refreshed = refreshed.await;
    assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
    let logout = format!("{junk}; {}", refreshed.cookies());
    assert_eq!(app.call(Method::POST, "/users/logout").cookies(&logout).send().await.status, StatusCode::NO_CONTENT);
    let after = app.call(Method::POST, "/users/token/refresh").cookies(&refreshed.cookies()).send().await;
    after.assert_refused(401, "session_over");
}

#[tokio::test]
async fn an_origin_needs_the_same_scheme_even_if_the_proxy_drops_the_port() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let cookies = app.logs_in_by_cookie("ada").await;
    let refresh = || app.call(Method::POST, "/users/token/refresh").cookies(&cookies);

    let other_scheme = refresh().header("origin", "https://localhost:8080").send().await;
    let without_port = refresh().header("host", "localhost").send().await;

    other_scheme.assert_refused(403, "cross_origin");
    assert_eq!(without_port.status, StatusCode::OK, "{without_port:?}");
}

#[tokio::test]
async fn a_cookie_from_another_site_changes_nothing() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let cookies = app.logs_in_by_cookie("ada").await;

    for path in ["/users/token/refresh", "/users/logout"] {
        let no_origin = app.call(Method::POST, path).header("cookie", &cookies).send().await;
        let other =
            app.call(Method::POST, path).cookies(&cookies).header("origin", "https://evil.example").send().await;
        no_origin.assert_refused(403, "cross_origin");
        other.assert_refused(403, "cross_origin");
        assert!(other.set_cookies().is_empty());
    }
    let change = json!({ "current_password": PASSWORD, "new_password": "another password" });
    let other = app.post("/users/me/password", change).header("cookie", &cookies).send().await;
    other.assert_refused(403, "cross_origin");
    let refreshed = app.call(Method::POST, "/users/token/refresh").cookies(&cookies).send().await;
    assert_eq!(refreshed.status, StatusCode::OK, "the session was left alone");
}

#[tokio::test]
async fn a_login_during_the_disabling_of_the_account_begins_no_session() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;
    let admin = app.admin().await;

    let logins = join_all((0..8).map(|_| app.tries("ada", PASSWORD)));
    let path = format!("/users/{id}");
    let disable = app.patch(&path, json!({ "status": "disabled" })).bearer(&admin).send();
    let (answers, disabled) = futures::future::join(logins, disable).await;

    assert_eq!(disabled.status, StatusCode::OK);
    for answer in answers {
        if answer.status == StatusCode::OK {
            app.refreshes(&Session::of(&answer).refresh).await.assert_refused(401, "session_over");
        }
    }
}

#[tokio::test]
async fn old_rows_are_purged() {
    let app = TestApp::start().await;
    let session = app.user("ada").await;
    app.refreshes(&session.refresh).await;
    app.tries("ada", "wrong password").await;
    app.later(Duration::from_secs(38 * 86_400)).await;

    app.state.store.purge(30).await.unwrap();

    for table in ["sessions", "refresh_tokens", "rate_limits"] {
        let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let rows: i64 = sqlx::query_scalar(count).fetch_one(app.pool()).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}
