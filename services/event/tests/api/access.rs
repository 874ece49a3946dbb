//! Who may do what, and the order of the checks.

use contracts::identity::Role;
use serde_json::json;
use uuid::Uuid;

use crate::helpers::{ORGANIZER, TestApp, text};

#[tokio::test(flavor = "multi_thread")]
async fn creating_an_event_needs_an_organizer() {
    let app = TestApp::start().await;
    let new = app.concert(&json!({}));

    let anonymous = app.post("/api/events", &new).send().await;
    let attendee = app.post("/api/events", &new).bearer(&app.token(3, Role::Attendee)).send().await;
    let forged = app.post("/api/events", &new).bearer("a.b.c").send().await;
    let admin = app.post("/api/events", &new).bearer(&app.token(1, Role::Admin)).send().await;

    anonymous.assert_refused(401, "login_required");
    attendee.assert_refused(403, "role_required");
    forged.assert_refused(401, "invalid_token");
    assert_eq!((admin.status.as_u16(), &admin.body["organizer_id"]), (201, &json!(1)));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authorization_is_checked_before_the_body() {
    let app = TestApp::start().await;
    let id = app.sells(5).await;
    let path = format!("/api/events/{id}");
    let garbage = || app.patch(&path, &json!({})).body("{not json");

    garbage().send().await.assert_refused(401, "login_required");
    garbage().bearer(&app.token(3, Role::Attendee)).send().await.assert_refused(403, "role_required");
    garbage().bearer(&app.token(8, Role::Organizer)).send().await.assert_refused(403, "not_your_event");
    garbage().bearer(&app.organizer()).send().await.assert_refused(400, "invalid_json");
    let hold = app.put(&format!("{path}/decrease_capacity"), &json!({})).body("{not json");
    hold.send().await.assert_refused(401, "login_required");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_visible_only_to_its_organizer_and_admins() {
    let app = TestApp::start().await;
    let draft = app.creates(&json!({ "status": "draft" })).await;
    let path = format!("/api/events/{}", text(&draft["id"]));
    let (other, admin) = (app.token(8, Role::Organizer), app.token(1, Role::Admin));

    app.get(&path).send().await.assert_refused(404, "event_not_found");
    app.get(&path).bearer(&other).send().await.assert_refused(404, "event_not_found");
    app.patch(&path, &json!({ "title": "Mine" })).bearer(&other).send().await.assert_refused(404, "event_not_found");
    app.delete(&path).bearer(&other).send().await.assert_refused(404, "event_not_found");
    assert_eq!(app.get(&path).bearer(&app.organizer()).send().await.assert_ok()["status"], "draft");
    assert_eq!(app.get(&path).bearer(&admin).send().await.assert_ok()["status"], "draft");
    app.holds(&text(&draft["id"]), Uuid::new_v4(), 1).await.assert_refused(404, "event_not_found");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn organizers_manage_their_own_events_and_admins_all() {
    let app = TestApp::start().await;
    let path = format!("/api/events/{}", app.sells(5).await);
    let (other, admin) = (app.token(8, Role::Organizer), app.token(1, Role::Admin));
    let change = json!({ "title": "Changed" });

    app.patch(&path, &change).bearer(&other).send().await.assert_refused(403, "not_your_event");
    app.delete(&path).bearer(&other).send().await.assert_refused(403, "not_your_event");
    let changed = app.patch(&path, &change).bearer(&admin).send().await;

    assert_eq!(changed.assert_ok()["organizer_id"], ORGANIZER);
    assert_eq!(changed.body["title"], "Changed");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_booking_service_changes_reservations() {
    let app = TestApp::start().await;
    let id = app.sells(5).await;
    let reservation = Uuid::new_v4();
    let paths = [
        format!("/api/events/{id}/decrease_capacity"),
        format!("/api/events/{id}/reservations/{reservation}/confirm"),
        format!("/api/events/{id}/reservations/{reservation}/release"),
    ];
    let body = json!({ "reservation_id": reservation, "seats": 1, "hold_seconds": 60 });

    for path in &paths {
        app.put(path, &body).send().await.assert_refused(401, "login_required");
        app.put(path, &body).bearer(&app.organizer()).send().await.assert_refused(403, "service_only");
        app.put(path, &body).bearer(&app.token(1, Role::Admin)).send().await.assert_refused(403, "service_only");
    }
    assert_eq!(app.counters(&id).await, (5, 0, 0));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_token_does_not_act_as_a_user() {
    let app = TestApp::start().await;

    let answer = app.post("/api/events", &app.concert(&json!({}))).bearer(&app.booking_service()).send().await;

    answer.assert_refused(401, "invalid_token");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_as_problems() {
    let app = TestApp::start().await;
    let id = app.sells(5).await;
    let organizer = app.organizer();
    let post = |body: &str| app.call("POST", "/api/events").body(body.to_owned()).bearer(&organizer);
    let with = |field: &str, value: serde_json::Value| {
        let mut event = app.concert(&json!({}));
        event[field] = value;
        event.to_string()
    };

    post("{").send().await.assert_refused(400, "invalid_json");
    post(&with("colour", json!("red"))).send().await.assert_refused(400, "invalid_json");
    post(&with("status", json!("cancelled"))).send().await.assert_refused(400, "invalid_json");
    post(&with("description", json!("x".repeat(70_000)))).send().await.assert_refused(413, "body_too_large");
    let plain = app.call("POST", "/api/events").header("content-type", "text/plain").bearer(&organizer);
    assert_eq!(plain.send().await.status, 400);
    app.get("/api/events?colour=red").send().await.assert_refused(400, "invalid_query");
    app.get("/api/events?limit=0").send().await.assert_refused(400, "invalid_query");
    app.get("/api/events?from=tomorrow").send().await.assert_refused(400, "invalid_query");
    app.get("/api/events?from=0000-01-01T00:00:00Z").send().await.assert_refused(400, "invalid_query");
    app.get("/api/events?to=%2B262142-12-31T23:59:59Z").send().await.assert_refused(400, "invalid_query");
    app.get("/api/events?cursor=nonsense").send().await.assert_refused(400, "invalid_cursor");
    for position in [json!([i64::MAX, "x"]), json!([253_402_300_800_000_i64, "x"])] {
        let cursor = platform::page::encode_cursor(&position);
        app.get(&format!("/api/events?cursor={cursor}")).send().await.assert_refused(400, "invalid_cursor");
    }
    app.get(&format!("/api/events?q={}", "x".repeat(201))).send().await.assert_refused(400, "invalid_query");
    app.get("/api/nothing").send().await.assert_refused(404, "route_not_found");
    app.call("PUT", &format!("/api/events/{id}")).send().await.assert_refused(405, "method_not_allowed");
    let path = format!("/api/events/{id}/reservations/not-a-uuid/confirm");
    app.put(&path, &json!({})).bearer(&app.booking_service()).send().await.assert_refused(404, "not_found");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_the_api_names_every_route() {
    let app = TestApp::start().await;

    let answer = app.get("/api/events/openapi.json").send().await;

    let paths = answer.assert_ok()["paths"].as_object().unwrap();
    let routes: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!((answer.body["openapi"].as_str(), paths.len(), routes), (Some("3.1.0"), 7, 10));
    app.end().await;
}
