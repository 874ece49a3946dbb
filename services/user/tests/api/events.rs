//! Available events, through a stand-in of event-service's REST contract.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::helpers::TestApp;

/// event-service as the platform's contract has it, answering what the test says.
pub(crate) struct EventService {
    url: String,
    pub(crate) asked: Arc<Mutex<Vec<(Uri, HeaderMap)>>>,
}

type Answering = (Arc<Mutex<Vec<(Uri, HeaderMap)>>>, fn() -> Response, Duration);

impl EventService {
    pub(crate) async fn answers(answer: fn() -> Response, after: Duration) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new()
            .route(
                "/api/events",
                get(|State((asked, answer, after)): State<Answering>, uri: Uri, headers: HeaderMap| async move {
                    asked.lock().unwrap().push((uri, headers));
                    tokio::time::sleep(after).await;
                    answer()
                }),
            )
            .with_state((asked.clone(), answer, after));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, asked }
    }

    pub(crate) async fn platform(&self) -> TestApp {
        TestApp::with(&["--event-service-url", &self.url]).await
    }
}

pub(crate) fn list() -> Response {
    axum::Json(json!({ "items": [{ "id": "e1", "title": "Concert" }], "next_cursor": null })).into_response()
}

pub(crate) fn refusal() -> Response {
    let body = json!({ "type": "about:blank", "status": 400, "code": "invalid_query", "detail": "from: not a time" });
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

pub(crate) fn breakdown() -> Response {
    StatusCode::BAD_GATEWAY.into_response()
}

fn somebody_else() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found").into_response()
}

#[tokio::test]
async fn events_come_from_event_service_with_the_callers_parameters() {
    let events = EventService::answers(list, Duration::ZERO).await;
    let app = events.platform().await;

    let path = "/users/events?q=rock%20%26%20roll&has_seats=true&limit=5&from=2026-01-01T00%3A00%3A00%2B02%3A00";
    let answer = app.get(path).header("x-request-id", "req-1").send().await;

    assert_eq!((answer.status, &answer.body["items"][0]["title"]), (StatusCode::OK, &json!("Concert")));
    assert_eq!(answer.header("content-type"), "application/json");
    let (uri, headers) = events.asked.lock().unwrap()[0].clone();
    let pairs: Vec<_> = url::form_urlencoded::parse(uri.query().unwrap().as_bytes()).into_owned().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        pairs,
        [
            pair("q", "rock & roll"),
            pair("from", "2026-01-01T00:00:00+02:00"),
            pair("has_seats", "true"),
            pair("limit", "5")
        ]
    );
    assert_eq!(headers["x-request-id"], "req-1");
    assert!(headers.contains_key("traceparent"));
}

#[tokio::test]
async fn a_refusal_of_event_service_is_forwarded() {
    let app = EventService::answers(refusal, Duration::ZERO).await.platform().await;

    app.get("/users/events?from=yesterday").send().await.assert_refused(400, "invalid_query");
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_here() {
    let events = EventService::answers(list, Duration::ZERO).await;
    let app = events.platform().await;

    app.get("/users/events?status=draft").send().await.assert_refused(400, "invalid_query");

    assert!(events.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_broken_event_service_is_a_503() {
    for answer in [breakdown as fn() -> Response, somebody_else] {
        let app = EventService::answers(answer, Duration::ZERO).await.platform().await;
        app.get("/users/events").send().await.assert_refused(503, "event_service_unavailable");
    }
    let nobody_there = TestApp::start().await;
    let answer = nobody_there.get("/users/events").send().await;
    answer.assert_refused(503, "event_service_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_call_to_event_service_times_out_after_three_seconds() {
    let app = EventService::answers(list, Duration::from_secs(60)).await.platform().await;
    let began = Instant::now();

    let answer = app.get("/users/events").send().await;

    answer.assert_refused(503, "event_service_unavailable");
    assert!((2.5..5.0).contains(&began.elapsed().as_secs_f64()));
}
