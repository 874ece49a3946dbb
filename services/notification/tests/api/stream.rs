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

/// What the specification allows from storing to telling.
const SOON: Duration = Duration::from_secs(1);
/// For what has no deadline.
const LATER: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_stream_says_at_once_where_it_begins_and_forbids_buffering() {
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
async fn a_new_notification_is_told_within_a_second_as_the_list_shows_it() {
    let app = TestApp::start().await;
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;

    app.confirms_booking(1, 17).await;

    let told = stream.next_named("notification", SOON).await;
    assert_eq!(told.id, "1");
    assert_eq!(told.data, app.get(1, "/notifications/1").await.1["items"][0]);
    app.end().await;
}

#[tokio::test]
async fn a_stream_tells_in_the_language_of_its_reader() {
    let app = TestApp::start().await;
    let request = request("GET", 1, "/notifications/1/stream").header("accept-language", "de");
    let mut stream = Stream::of(app.send(request.body(axum::body::Body::empty()).unwrap()).await);
    stream.next_named("ready", LATER).await;

    app.confirms_booking(1, 17).await;

    assert_eq!(stream.next_named("notification", SOON).await.data["title"], "Buchung bestätigt");
    app.end().await;
}

#[tokio::test]
async fn a_notification_that_another_replica_stored_is_told_within_a_second() {
    let (app, other) = {
        let app = TestApp::start().await;
        let other = app.replica().await;
        (app, other)
    };
    app.start_watcher();
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;
    // The first one shows that the change stream is open; it may be found by the look after the opening.
    other.confirms_booking(1, 1).await;
    stream.next_named("notification", LATER).await;

    for booking_id in 2..=5 {
        other.confirms_booking(1, booking_id).await;
        let told = stream.next_named("notification", SOON).await;
        assert_eq!(told.data["booking_id"], booking_id);
    }

    other.end().await;
    app.stop();
}

#[tokio::test]
async fn a_stream_tells_nothing_of_others() {
    let app = TestApp::start().await;
    let mut stream = app.opens_stream(1).await;

    app.confirms_booking(2, 1).await;
    app.confirms_booking(1, 2).await;

    let told = stream.next_named("notification", LATER).await;
    assert_eq!((told.id.as_str(), &told.data["booking_id"]), ("1", &json!(2)));
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
async fn a_place_that_was_never_reached_resumes_at_the_newest() {
    let app = TestApp::start().await;
    app.confirms_booking(1, 1).await;

    let mut stream = app.opens_stream_after(1, Some("999")).await;
    app.confirms_booking(1, 2).await;

    assert_eq!(stream.next_named("notification", LATER).await.id, "2");
    assert_eq!(app.opens_stream_after(1, Some("x")).await.response.status(), StatusCode::BAD_REQUEST);
    app.end().await;
}

#[tokio::test]
async fn a_quiet_stream_says_something_at_every_heartbeat() {
    let app = TestApp::with(Options { heartbeat_interval: Duration::from_millis(100), ..Options::default() }).await;
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;

    let (one, two) = (stream.next().await.unwrap(), stream.next().await.unwrap());

    assert!(one.comment.is_some() && two.comment.is_some());
    assert_eq!((one.event, one.data), (String::new(), json!(null)));
    app.end().await;
}

#[tokio::test]
async fn a_heartbeat_finds_what_nobody_woke_for() {
    let app = TestApp::with(Options { heartbeat_interval: Duration::from_millis(200), ..Options::default() }).await;
    let other = app.replica().await;
    let mut stream = app.opens_stream(1).await;

    // Without a watcher, this replica hears nothing of what the other one stores.
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
async fn a_stream_ends_when_its_session_is_ended_elsewhere() {
    let app = TestApp::start().await;
    let mut stream = app.opens_stream(1).await;
    stream.next_named("ready", LATER).await;

    // As the tokens of these tests have it.
    let ended = RevocationList { sessions: vec!["session".to_owned()], ..RevocationList::default() };
    app.state.verifier.revocations().replace(ended);

    assert_eq!(stream.next_named("end", LATER).await.data, json!({ "reason": "session_expired" }));
    assert!(stream.next().await.is_none());
    let (status, refusal) = app.get(1, "/notifications/1").await;
    assert_eq!((status, &refusal["code"]), (StatusCode::UNAUTHORIZED, &json!("session_over")));
    app.end().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_session() {
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

    // Within the leeway the token is still good for a request, but not for another stream.
    app.clock.advance(TimeDelta::seconds(2));
    let (status, problem) = crate::helpers::json(app.send(request()).await).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("token_expired")));
    app.end().await;
}

#[tokio::test]
async fn one_stream_too_many_of_a_user_ends_the_oldest() {
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
async fn a_full_replica_refuses_a_stream_until_a_reader_goes() {
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
async fn a_reader_that_does_not_read_holds_up_nobody() {
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
async fn a_stream_outlives_a_cut_from_mongodb_and_misses_nothing() {
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
    proxy.mend();

    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("database_unavailable")));
    assert_eq!(stream.next_named("notification", LATER).await.id, "1");
    app.stop();
    other.end().await;
}

#[tokio::test]
async fn while_mongodb_is_silent_no_stream_begins_and_those_that_are_open_end() {
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

    let (status, problem) = refused.expect("an answer in time");
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("database_unavailable")));
    assert_eq!(end.data, json!({ "reason": "closed" }));
    assert!(app.state.hub.is_empty(), "nobody listens any more");
    proxy.mend();
    app.stop();
}
