//! How often a password may be guessed, and accounts registered.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures::{StreamExt, future::join_all, stream};
use serde_json::{Value, json};

use crate::helpers::{Answer, Call, PASSWORD, TestApp, registration};

const WRONG: &str = "wrong password";

fn login(name: &str, password: &str) -> Value {
    json!({ "email": format!("{name}@example.org"), "password": password })
}

async fn tries_from(app: &TestApp, name: &str, password: &str, address: &str) -> Answer {
    app.post("/users/login", login(name, password)).from(address).send().await
}

/// A login in a browser that has these cookies.
async fn tries_by_cookie(app: &TestApp, password: &str, address: &str, cookies: &str) -> Answer {
    let mut body = login("ada", password);
    body["session"] = json!("cookie");
    app.post("/users/login", body).from(address).cookies(cookies).send().await
}

/// Some at once, but no more than a replica admits.
async fn at_once<F: Future<Output = Answer>>(calls: impl IntoIterator<Item = F>) -> Vec<Answer> {
    stream::iter(calls).buffer_unordered(16).collect().await
}

/// A hundred strangers guess at ada's password.
async fn unknown_clients_guess(app: &TestApp) {
    let guesses = (0..100).map(|i| async move { tries_from(app, "ada", WRONG, &format!("10.0.{i}.1")).await });
    for answer in at_once(guesses).await {
        answer.assert_refused(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn a_client_waits_after_ten_failures_whether_the_account_exists_or_not() {
    let app = TestApp::start().await;
    app.registers("ada").await;

    for name in ["ada", "nobody"] {
        for _ in 0..10 {
            tries_from(&app, name, WRONG, "10.0.0.1").await.assert_refused(401, "invalid_credentials");
        }
        let limited = tries_from(&app, name, WRONG, "10.0.0.1").await;

        limited.assert_refused(429, "too_many_attempts");
        let wait: u64 = limited.header("retry-after").parse().unwrap();
        assert!((890..=900).contains(&wait), "{wait}");
    }
    let typed = json!({ "email": " ADA@example.org", "password": WRONG });
    app.post("/users/login", typed).from("10.0.0.1").send().await.assert_refused(429, "too_many_attempts");
}

#[tokio::test]
async fn at_the_limit_the_right_password_is_answered_like_a_wrong_one() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    for _ in 0..10 {
        app.tries("ada", WRONG).await;
    }
    // A whole second does not end between the two answers.
    sqlx::query("update rate_limits set window_ends_at = now() + interval '600.5 seconds'")
        .execute(app.pool())
        .await
        .unwrap();

    let (mut wrong, mut right) = (app.tries("ada", WRONG).await, app.tries("ada", PASSWORD).await);
    for answer in [&mut wrong, &mut right] {
        answer.body.as_object_mut().unwrap().remove("request_id");
    }

    wrong.assert_refused(429, "too_many_attempts");
    assert_eq!((right.status, &right.body), (wrong.status, &wrong.body));
    let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&right), names(&wrong));
    assert_eq!(right.header("retry-after"), wrong.header("retry-after"));
}

#[tokio::test]
async fn failures_from_elsewhere_do_not_lock_the_owner_out() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    for _ in 0..12 {
        tries_from(&app, "ada", WRONG, "10.0.0.1").await;
    }

    let owner = tries_from(&app, "ada", PASSWORD, "10.0.0.2").await;

    assert_eq!(owner.status, StatusCode::OK);
}

#[tokio::test]
async fn a_hundred_failures_block_unknown_clients_but_not_the_owner_at_a_known_address() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    tries_from(&app, "ada", PASSWORD, "192.0.2.7").await;

    unknown_clients_guess(&app).await;

    let right = tries_from(&app, "ada", PASSWORD, "10.1.0.1").await;
    right.assert_refused(429, "too_many_attempts");
    let wait: u64 = right.header("retry-after").parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(tries_from(&app, "ada", PASSWORD, "192.0.2.7").await.status, StatusCode::OK);
    tries_from(&app, "ada", PASSWORD, "10.1.0.1").await.assert_refused(429, "too_many_attempts");
}

#[tokio::test]
async fn the_owners_browser_logs_in_from_anywhere_while_others_guess() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let cookies = app.logs_in_by_cookie("ada").await;
    unknown_clients_guess(&app).await;
    for _ in 0..10 {
        tries_from(&app, "ada", WRONG, "10.1.0.1").await;
    }

    let owner = tries_by_cookie(&app, PASSWORD, "10.1.0.1", &cookies).await;

    assert_eq!(owner.status, StatusCode::OK, "{owner:?}");
    let device = |cookies: &str| cookies.split("evp8080_device=").nth(1).map(str::to_owned);
    assert_eq!(device(&owner.cookies()), device(&cookies), "the browser stays the one it is");
    let made_up = format!("evp8080_device={}", "x".repeat(43));
    tries_by_cookie(&app, PASSWORD, "10.2.0.1", &made_up).await.assert_refused(429, "too_many_attempts");
}

#[tokio::test]
async fn a_stolen_browser_is_limited_too() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let cookies = app.logs_in_by_cookie("ada").await;

    for i in 0..10 {
        tries_by_cookie(&app, WRONG, &format!("10.0.0.{i}"), &cookies).await.assert_refused(401, "invalid_credentials");
    }

    tries_by_cookie(&app, PASSWORD, "10.0.1.1", &cookies).await.assert_refused(429, "too_many_attempts");
    assert_eq!(tries_from(&app, "ada", PASSWORD, "10.0.1.1").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_limit_ends_with_its_window() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    for _ in 0..10 {
        app.tries("ada", WRONG).await;
    }
    app.tries("ada", PASSWORD).await.assert_refused(429, "too_many_attempts");
    app.later(Duration::from_secs(15 * 60)).await;

    assert_eq!(app.tries("ada", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_right_password_resets_the_clients_counter() {
    let app = TestApp::start().await;
    app.registers("ada").await;

    for _ in 0..2 {
        for _ in 0..9 {
            app.tries("ada", WRONG).await.assert_refused(401, "invalid_credentials");
        }
        assert_eq!(app.tries("ada", PASSWORD).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn fifty_failures_block_an_address_but_no_other() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let names: Vec<_> = (0..60).map(|i| format!("user{i}")).collect();
    let answers = at_once(names.iter().map(|name| tries_from(&app, name, WRONG, "192.0.2.1"))).await;

    let limited = tries_from(&app, "ada", PASSWORD, "192.0.2.1").await;
    let elsewhere = tries_from(&app, "ada", PASSWORD, "192.0.2.2").await;

    let looked_at = answers.iter().filter(|answer| answer.code() == "invalid_credentials").count();
    assert_eq!(looked_at, 50);
    limited.assert_refused(429, "too_many_attempts");
    assert_eq!(elsewhere.status, StatusCode::OK);
}

#[tokio::test]
async fn concurrent_guesses_on_two_replicas_gain_nothing_over_sequential_ones() {
    let app = TestApp::with(&["--password-hash-workers", "8"]).await;
    app.registers("ada").await;
    let other = app.replica();

    let guesses = (0..40).map(|i| {
        let here = app.post("/users/login", login("ada", WRONG));
        let there = Call::new(&other, Method::POST, "/users/login").json(&login("ada", WRONG));
        async move { if i % 2 == 0 { here.send().await } else { there.send().await } }
    });
    let answers = at_once(guesses).await;

    let count = |code| answers.iter().filter(|answer| answer.code() == code).count();
    assert_eq!((count("invalid_credentials"), count("too_many_attempts")), (10, 30));
}

#[tokio::test]
async fn a_right_guess_among_many_concurrent_ones_is_not_revealed() {
    let app = TestApp::with(&["--password-hash-workers", "1"]).await;
    app.registers("ada").await;
    let guesses = (0..30).map(|i| app.tries("ada", if i == 29 { PASSWORD } else { WRONG }));

    let answers = join_all(guesses).await;

    assert!(answers.iter().all(|answer| answer.status != StatusCode::OK));
}

#[tokio::test]
async fn concurrent_logins_with_the_right_password_are_no_failures() {
    let app = TestApp::with(&["--password-hash-workers", "16"]).await;
    app.registers("ada").await;
    for _ in 0..5 {
        app.tries("ada", WRONG).await;
    }

    let answers = join_all((0..30).map(|_| app.tries("ada", PASSWORD))).await;

    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
}

#[tokio::test]
async fn replicas_share_their_counters() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    for _ in 0..10 {
        app.tries("ada", WRONG).await;
    }

    let call = Call::new(&app.replica(), Method::POST, "/users/login").json(&login("ada", PASSWORD));

    call.send().await.assert_refused(429, "too_many_attempts");
}

#[tokio::test]
async fn registrations_per_address_and_hour_are_limited() {
    let app = TestApp::with(&["--registrations-per-address", "3"]).await;
    let register = |name: &str, address: &str| app.post("/users/register", registration(name)).from(address).send();

    let many: Vec<_> = (0..8).map(|i| format!("user{i}")).collect();
    let answers = join_all(many.iter().map(|name| register(name, "2001:db8::1"))).await;
    let neighbour = register("ada", "2001:db8::2").await;
    let elsewhere = register("ada", "2001:db8:0:1::1").await;

    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count(), 3);
    neighbour.assert_refused(429, "too_many_registrations");
    let wait: u64 = neighbour.header("retry-after").parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(elsewhere.status, StatusCode::CREATED);
    app.later(Duration::from_secs(3600)).await;
    assert_eq!(register("eve", "2001:db8::2").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_repeated_or_invalid_registration_does_not_count() {
    let app = TestApp::with(&["--registrations-per-address", "2"]).await;
    let repeated = || app.post("/users/register", registration("ada")).header("idempotency-key", "key-1").send();

    for _ in 0..5 {
        assert_eq!(repeated().await.status, StatusCode::CREATED);
        app.post("/users/register", json!({ "email": "x", "password": "x", "name": "x" })).send().await;
    }

    let refused = |answer: Answer| answer.status == StatusCode::TOO_MANY_REQUESTS;
    assert!(!refused(app.post("/users/register", registration("eve")).send().await));
    assert!(refused(app.post("/users/register", registration("joe")).send().await));
}

#[tokio::test]
async fn the_latest_fifty_clients_of_a_user_are_remembered() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.registers("ada").await, app.registers("bob").await);
    // Client 1 was seen an hour ago, client 60 was seen 60 hours ago.
    let sql = "insert into known_clients (user_id, key, last_seen_at)
               select id, int4send(n), now() - n * interval '1 hour' from unnest($1) as u (id), generate_series(1, 60) as n";
    sqlx::query(sql).bind([ada, bob]).execute(app.pool()).await.unwrap();

    app.logs_in("ada").await;

    let clients = async |user_id| {
        let sql = "select count(*), count(*) filter (where exists (
                       select from generate_series(1, 49) as n where key = int4send(n)))
                   from known_clients where user_id = $1";
        sqlx::query_as::<_, (i64, i64)>(sql).bind(user_id).fetch_one(app.pool()).await.unwrap()
    };
    assert_eq!(clients(ada).await, (50, 49), "the one of the login is among them");
    assert_eq!(clients(bob).await, (60, 49));
}
