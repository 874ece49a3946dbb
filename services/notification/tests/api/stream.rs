//! Server-sent events.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::TimeDelta;
use contracts::identity::{RevocationList, Role};
use notification_service::streams::MAX_STREAMS_PER_USER;
use serde_json::json;

use crate::{
    helpers::{Options, Stream, TestApp, address, request, server, token, wait_until},
    proxy::Proxy,
};

/// The limit from storing a notification to streaming it.
const SOON: Duration = Duration::from_secs(1);
/// For events without a limit of their own.
const LATER: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_stream_begins_with_its_position_and_forbids_buffering() {
    let app = TestApp::start().await;
    app.confirms_booking(1, 1).await;

    let mut stream = app.opens_stream(1).await;

    let headers = stream.response.headers().clone();
    assert_eq!(stream.response.status(), StatusCode::OK);
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-cache, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    let ready = stream.next().await.unwrap();
    assert_eq!((ready.event.as_str(), ready.id.as_str(), ready.retry.as_str()), ("ready", "1", "2000"));
    assert_eq!(ready.data, json!({ "last_seq": 1, "unread_count": 1 }));
    app.end().await;
}

#[tokio::test]
async fn a_new_notification_is_streamed_within_a_second_as_it_is_listed() {
    let app = TestApp::start().await;
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;

    app.confirms_booking(1, 17).await;

    let notification = stream.next_named("notification", SOON).await;
    assert_eq!(notification.id, "1");
    assert_eq!(notification.data, app.get(1, "/notifications/1").await.1["items"][0]);
    app.end().await;
}

#[tokio::test]
async fn a_stream_is_in_the_language_of_its_user() {
    let app = TestApp::start().await;
    let request = request("GET", 1, "/notifications/1/stream").header("accept-language", "de");
    let mut stream = Stream::of(app.send(request.body(axum::body::Body::empty()).unwrap()).await);
    stream.next_named("ready", LATER).await;

    app.confirms_booking(1, 17).await;

    assert_eq!(stream.next_named("notification", SOON).await.data["title"], "Buchung bestätigt");
    app.end().await;
}

#[tokio::test]
async fn a_notification_that_another_replica_stored_is_streamed_within_a_second() {
    let (app, other) = {
        let app = TestApp::start().await;
        let other = app.replica().await;
        (app, other)
    };
    app.start_watcher();
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;
    // The first notification shows that the change stream is open. It may have been found by the read after the opening.
    other.confirms_booking(1, 1).await;
    stream.next_named("notification", LATER).await;

    for booking_id in 2..=5 {
        other.confirms_booking(1, booking_id).await;
        let notification = stream.next_named("notification", SOON).await;
        assert_eq!(notification.data["booking_id"], booking_id);
    }

    other.end().await;
    app.stop();
}

#[tokio::test]
async fn a_stream_has_no_notifications_of_other_users() {
    let app = TestApp::start().await;
    let mut stream = app.opens_stream(1).await;

    app.confirms_booking(2, 1).await;
    app.confirms_booking(1, 2).await;

    let notification = stream.next_named("notification", LATER).await;
    assert_eq!((notification.id.as_str(), &notification.data["booking_id"]), ("1", &json!(2)));
    app.end().await;
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_that_arrived() {
    let app = TestApp::start().await;
    for booking_id in 1..=250 {
        app.confirms_booking(1, booking_id).await;
    }

    let mut stream = app.opens_stream_after(1, Some("120")).await;

    assert_eq!(stream.next().await.unwrap().id, "120");
    for seq in 121..=250 {
        assert_eq!(stream.next().await.unwrap().id, seq.to_string());
    }
    app.end().await;
}

#[tokio::test]
async fn an_event_id_beyond_the_newest_resumes_at_the_newest() {
    let app = TestApp::start().await;
    app.confirms_booking(1, 1).await;

    let mut stream = app.opens_stream_after(1, Some("999")).await;
    app.confirms_booking(1, 2).await;

    assert_eq!(stream.next_named("notification", LATER).await.id, "2");
    assert_eq!(app.opens_stream_after(1, Some("x")).await.response.status(), StatusCode::BAD_REQUEST);
    app.end().await;
}

#[tokio::test]
async fn an_idle_stream_gets_a_comment_at_every_heartbeat() {
    let app = TestApp::with(Options { heartbeat_interval: Duration::from_millis(100), ..Options::default() }).await;
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;

    let (one, two) = (stream.next().await.unwrap(), stream.next().await.unwrap());

    assert!(one.comment.is_some() && two.comment.is_some());
    assert_eq!((one.event, one.data), (String::new(), json!(null)));
    app.end().await;
}

#[tokio::test]
async fn a_heartbeat_finds_notifications_without_a_wake_up() {
    let app = TestApp::with(Options { heartbeat_interval: Duration::from_millis(200), ..Options::default() }).await;
    let other = app.replica().await;
    let mut stream = app.opens_stream(1).await;

    // Without a watcher, this replica is not woken for notifications that the other one stores.
    other.confirms_booking(1, 1).await;

    assert_eq!(stream.next_named("notification", LATER).await.id, "1");
    other.stop();
    app.end().await;
}

#[tokio::test]
async fn streams_end_when_the_process_stops() {
    let app = TestApp::start().await;
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;

    app.stop();

    assert_eq!(stream.next_named("end", LATER).await.data, json!({ "reason": "closed" }));
    assert!(stream.next().await.is_none());
    app.end().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_session_is_revoked() {
    let app = TestApp::start().await;
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;

    // The session id in the tokens of these tests.
    let ended = RevocationList { sessions: vec!["session".to_owned()], ..RevocationList::default() };
    app.state.verifier.revocations().replace(ended);

    assert_eq!(stream.next_named("end", LATER).await.data, json!({ "reason": "session_expired" }));
    assert!(stream.next().await.is_none());
    let (status, refusal) = app.get(1, "/notifications/1").await;
    assert_eq!((status, &refusal["code"]), (StatusCode::UNAUTHORIZED, &json!("session_over")));
    app.end().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let app = TestApp::start().await;
    let short = token(1, Role::Attendee, TimeDelta::seconds(1));
    let request = || {
        let request = axum::http::Request::builder().uri("/notifications/1/stream");
        request.header("authorization", format!("Bearer {short}")).body(axum::body::Body::empty()).unwrap()
    };
    let mut stream = crate::helpers::Stream::of(app.send(request()).await);
    stream.next_named("ready", LATER).await;

    assert_eq!(stream.next_named("end", LATER).await.data, json!({ "reason": "session_expired" }));
    assert!(stream.next().await.is_none());

    // Within the leeway the token is accepted for other requests, but not for a stream.
    app.clock.advance(TimeDelta::seconds(2));
    let (status, problem) = crate::helpers::json(app.send(request()).await).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("token_expired")));
    app.end().await;
}

#[tokio::test]
async fn one_stream_too_many_ends_the_oldest_of_the_user() {
    let app = TestApp::start().await;
    let mut oldest = app.opens_stream(1).await;
    let mut others = Vec::new();
    for _ in 0..MAX_STREAMS_PER_USER {
        others.push(app.opens_stream(1).await);
    }

    assert_eq!(oldest.next_named("end", LATER).await.data, json!({ "reason": "closed" }));

    app.confirms_booking(1, 1).await;
    for stream in &mut others {
        stream.next_named("notification", LATER).await;
    }
    app.end().await;
}

#[tokio::test]
async fn a_full_replica_refuses_streams_until_one_ends() {
    let app = TestApp::with(Options { streams_max: 1, ..Options::default() }).await;
    let first = app.opens_stream(1).await;

    let refused = app.opens_stream(2).await;

    assert_eq!(refused.response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.response.headers().contains_key("retry-after"));
    drop(first);
    wait_until("a stream is taken again", async || app.opens_stream(2).await.response.status() == StatusCode::OK).await;
    app.end().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_no_other_client() {
    let app = TestApp::start().await;
    let _idle = app.opens_stream_after(1, Some("0")).await;
    let mut reading = app.opens_stream_after(1, Some("0")).await;

    for booking_id in 1..=60 {
        app.confirms_booking(1, booking_id).await;
    }

    for seq in 1..=60 {
        assert_eq!(reading.next_named("notification", LATER).await.id, seq.to_string());
    }
    app.end().await;
}

#[tokio::test]
async fn a_stream_survives_a_lost_connection_to_mongodb() {
    let url = server("TEST_MONGODB_URL");
    let proxy = Proxy::start(address(&url)).await;
    let through_proxy = url.replace(&address(&url), &format!("127.0.0.1:{}", proxy.port));
    let choices = Options::default();
    let name = choices.database.clone();
    let app = TestApp::with(Options { mongodb_url: through_proxy, ..choices }).await;
    let other = TestApp::with(Options { database: name, ..Options::default() }).await;
    app.start_watcher();
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;

    proxy.cut();
    other.confirms_booking(1, 1).await;
    let (status, problem) = app.get(1, "/notifications/1").await;
    proxy.restore();

    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("database_unavailable")));
    assert_eq!(stream.next_named("notification", LATER).await.id, "1");
    app.stop();
    other.end().await;
}

#[tokio::test]
async fn while_mongodb_does_not_respond_open_streams_end_and_new_ones_are_refused() {
    let url = server("TEST_MONGODB_URL");
    let proxy = Proxy::start(address(&url)).await;
    let mongodb_url = url.replace(&address(&url), &format!("127.0.0.1:{}", proxy.port));
    let heartbeat_interval = Duration::from_secs(1);
    let app = TestApp::with(Options { mongodb_url, heartbeat_interval, ..Options::default() }).await;
    let mut open = app.opens_stream(1).await;
    open.next_named("ready", LATER).await;

    proxy.stall();
    let refused = tokio::time::timeout(LATER, app.get(1, "/notifications/1/stream")).await;
    let end = open.next_named("end", 3 * LATER).await;

    let (status, problem) = refused.expect("a response in time");
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("database_unavailable")));
    assert_eq!(end.data, json!({ "reason": "closed" }));
    assert!(app.state.hub.is_empty(), "all streams have ended");
    proxy.restore();
    app.stop();
}
