//! Requests that do not fit are refused with a problem that says what is wrong.

use eventplatform_tests::api::Reply;
use eventplatform_tests::people::NewEvent;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::platform;

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_does_not_fit_is_refused() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(5, 1000)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();

    for (wrong, body) in [
        ("negative seats", json!({ "event_id": event_id, "seats": -1 })),
        ("no seats", json!({ "event_id": event_id, "seats": 0 })),
        ("half a seat", json!({ "event_id": event_id, "seats": 0.5 })),
        ("a price from the client", json!({ "event_id": event_id, "seats": 1, "price": 1 })),
        ("an amount from the client", json!({ "event_id": event_id, "seats": 1, "amount": 1 })),
        ("an unknown field", json!({ "event_id": event_id, "seats": 1, "colour": "red" })),
        ("a missing field", json!({ "event_id": event_id })),
        ("not an object", json!([1, 2, 3])),
    ] {
        let answer = attendee.post("/bookings", &body).await.unwrap();
        assert_problem(&answer, wrong);
    }
    let unknown = attendee.asks_for("no-such-event", 1).await.unwrap();
    assert_problem(&unknown, "an unknown event");
    assert!(attendee.get("/bookings?status=Pending").await.unwrap().body["items"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_does_not_fit_is_refused() {
    let platform = platform().await;
    let organizer = platform.organizer().await.unwrap();

    for (wrong, event) in [
        ("no title", NewEvent::free(5).with("title", "")),
        ("negative capacity", NewEvent::free(5).with("capacity", -5)),
        ("a negative price", NewEvent::free(5).with("price", -1)),
        ("no such currency", NewEvent::free(5).with("currency", "EURO")),
        ("no such zone", NewEvent::free(5).with("time_zone", "Mars/Olympus_Mons")),
        ("an end before the start", NewEvent::free(5).with("ends_at", "2020-01-01T00:00:00Z")),
        ("a field of the platform's", NewEvent::free(5).with("available", 5)),
    ] {
        let answer = organizer.post("/api/events", &event.body()).await.unwrap();
        assert_problem(&answer, wrong);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_framework_refuses_is_a_problem_too() {
    let platform = platform().await;
    let attendee = platform.attendee().await.unwrap();
    let post = |path| attendee.request(Method::POST, path);
    let big = json!({ "event_id": "x".repeat(70 * 1024), "seats": 1 });

    for (status, code, answer) in [
        (413, "body_too_large", Reply::to(post("/bookings").json(&big)).await),
        (400, "invalid_json", Reply::to(post("/bookings").header("content-type", "application/json").body("{")).await),
        (415, "", Reply::to(post("/bookings").header("content-type", "text/plain").body("seats=1")).await),
        (405, "", Reply::to(attendee.request(Method::DELETE, "/bookings")).await),
        (404, "route_not_found", attendee.get("/bookings/1/nothing-here").await),
        (404, "route_not_found", attendee.get("/users/nothing/here").await),
        (404, "route_not_found", attendee.get("/api/events/1/nothing-here").await),
        (404, "route_not_found", attendee.get("/notifications/1/nothing/here/at/all").await),
        (404, "not_found", attendee.get("/bookings/not-a-number").await),
        (404, "route_not_found", attendee.get("/api/events/").await),
        (400, "", attendee.get("/api/events?limit=many").await),
        (400, "", attendee.get("/api/events?limit=0").await),
        (400, "", attendee.get("/api/events?cursor=nonsense").await),
    ] {
        let answer = answer.unwrap();
        assert_problem(&answer, &format!("{status} {code}"));
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(code.is_empty() || answer.body["code"] == code, "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_does_not_fit_is_refused() {
    let platform = platform().await;
    let visitor = platform.visitor();
    let account = |field: &str, value: Value| {
        let mut body = json!({ "email": "new@people.example", "password": "long enough to pass", "name": "New" });
        body[field] = value;
        body
    };

    for (wrong, body) in [
        ("no e-mail address", account("email", "nobody".into())),
        ("a short password", account("password", "short".into())),
        ("no name", account("name", "".into())),
        ("an unknown role", account("role", "emperor".into())),
        ("the admin role", account("role", "admin".into())),
        ("an unknown field", account("id", 1.into())),
    ] {
        assert_problem(&visitor.post("/users/register", &body).await.unwrap(), wrong);
    }
    let login = json!({ "email": "nobody@people.example", "password": "not the password" });
    let answer = visitor.post("/users/login", &login).await.unwrap();
    assert_problem(&answer, "an unknown account");
    answer.expect(StatusCode::UNAUTHORIZED).unwrap();
}

/// A 4xx of RFC 9457's shape with a code and words for people.
fn assert_problem(answer: &Reply, wrong: &str) {
    let Reply { status, body, .. } = answer;
    assert!((400..500).contains(status), "{wrong}: {status} {body}");
    let media_type = answer.headers.get("content-type").map(|value| value.to_str().unwrap());
    assert_eq!(media_type, Some("application/problem+json"), "{wrong}: {body}");
    assert_eq!(body["status"], *status, "{wrong}: {body}");
    assert!(body["code"].as_str().is_some_and(|code| !code.is_empty()), "{wrong}: {body}");
    let words = body["detail"].as_str().or_else(|| body["title"].as_str());
    assert!(words.is_some_and(|words| !words.is_empty()), "{wrong}: {body}");
}
