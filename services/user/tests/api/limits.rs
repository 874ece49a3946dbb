//! How often a password may be guessed.

use std::time::Duration;

use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::json;

use crate::helpers::{Answer, PASSWORD, TestApp};

async fn guess(app: &TestApp, name: &str, address: &str) -> Answer {
    let body = json!({ "email": format!("{name}@example.org"), "password": "wrong password" });
    app.post("/users/login", body).from(address).send().await
}

#[tokio::test]
async fn an_account_waits_after_ten_failures_whether_it_exists_or_not() {
    let app = TestApp::start().await;
    app.registers("ada").await;

    for name in ["ada", "nobody"] {
        for i in 0..10 {
            guess(&app, name, &format!("10.0.0.{i}")).await.is_refused(401, "invalid_credentials");
        }
        let limited = guess(&app, name, "10.0.1.1").await;

        limited.is_refused(429, "too_many_attempts");
        let wait: u64 = limited.header("retry-after").parse().unwrap();
        assert!((890..=900).contains(&wait), "{wait}");
    }
    app.tries("ada", PASSWORD).await.is_refused(429, "too_many_attempts");
    app.post("/users/login", json!({ "email": " ADA@example.org", "password": PASSWORD }))
        .send()
        .await
        .is_refused(429, "too_many_attempts");
}

#[tokio::test]
async fn a_limited_account_is_open_again_after_the_window() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    for _ in 0..10 {
        app.tries("ada", "wrong password").await;
    }
    app.tries("ada", PASSWORD).await.is_refused(429, "too_many_attempts");
    app.later(Duration::from_secs(15 * 60)).await;

    assert_eq!(app.tries("ada", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_right_password_resets_the_accounts_counter() {
    let app = TestApp::start().await;
    app.registers("ada").await;

    for _ in 0..2 {
        for _ in 0..9 {
            app.tries("ada", "wrong password").await.is_refused(401, "invalid_credentials");
        }
        assert_eq!(app.tries("ada", PASSWORD).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_address_waits_after_fifty_failures_and_others_do_not() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    let guesses: Vec<_> = (0..50).map(|i| format!("user{i}")).collect();
    join_all(guesses.iter().map(|name| guess(&app, name, "192.0.2.1"))).await;

    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    let limited = app.post("/users/login", body.clone()).from("192.0.2.1").send().await;
    let elsewhere = app.post("/users/login", body).from("192.0.2.2").send().await;

    limited.is_refused(429, "too_many_attempts");
    assert_eq!(elsewhere.status, StatusCode::OK);
}

#[tokio::test]
async fn many_guesses_at_once_get_little_further() {
    let app = TestApp::start().await;
    app.registers("ada").await;

    let wrong = join_all((0..40).map(|i| {
        let app = &app;
        async move { guess(app, "ada", &format!("10.0.0.{i}")).await }
    }));
    let answers = wrong.await;
    let right = app.tries("ada", PASSWORD).await;

    assert!(answers.iter().all(|answer| answer.status.is_client_error()));
    right.is_refused(429, "too_many_attempts");
}

#[tokio::test]
async fn a_right_guess_among_many_at_once_is_not_told() {
    let app = TestApp::with(&["--password-hash-workers", "1"]).await;
    app.registers("ada").await;
    let guesses = (0..30).map(|i| {
        let password = if i == 29 { PASSWORD } else { "wrong password" };
        app.tries("ada", password)
    });

    let answers = join_all(guesses).await;

    assert!(answers.iter().all(|answer| answer.status != StatusCode::OK));
}

#[tokio::test]
async fn the_right_password_many_times_at_once_is_no_failure() {
    let app = TestApp::start().await;
    app.registers("ada").await;

    let answers = join_all((0..30).map(|_| app.tries("ada", PASSWORD))).await;

    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
}

#[tokio::test]
async fn replicas_count_together() {
    let app = TestApp::start().await;
    app.registers("ada").await;
    for _ in 0..10 {
        app.tries("ada", "wrong password").await;
    }

    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    let call = crate::helpers::Call::new(app.replica(), axum::http::Method::POST, "/users/login").json(&body);

    call.send().await.is_refused(429, "too_many_attempts");
}
