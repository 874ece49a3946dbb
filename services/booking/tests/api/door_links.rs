//! Links with which people without an account check tickets in.

use chrono::TimeDelta;
use contracts::identity::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    helpers::{ALICE, BOB, TestApp},
    neighbours::{Fault, ORGANIZER},
    tickets::code,
};

#[tokio::test]
async fn a_door_link_checks_in_for_one_event_and_does_nothing_else() {
    let app = TestApp::start().await;
    let (event, other) = (app.event_tonight(10, 0), app.event_tonight(10, 0));
    let ticket = app.tickets(app.books(&event, 1).await).await.remove(0);
    let theirs = app.tickets(app.books(&other, 1).await).await.remove(0);
    let made = app.makes_door_link(&event, 12).await.expect(201);
    let token = made.body["token"].as_str().unwrap();

    app.scan(&event, code(&ticket)).bearer(token).send().await.assert_ok();

    app.scan(&other, code(&theirs)).bearer(token).send().await.assert_refused(403, "not_this_door");
    app.scan(&event, code(&theirs)).bearer(token).send().await.assert_refused(409, "other_event");
    app.get(&format!("/tickets?event_id={event}")).bearer(token).send().await.assert_ok();
    app.get(&format!("/tickets?event_id={other}")).bearer(token).send().await.assert_refused(403, "not_this_door");
    let guessed = format!("{}A", &token[..token.len() - 1]);
    for unknown in ["door_", "door_x", &"door_x".repeat(1000), &guessed].into_iter().filter(|guess| *guess != token) {
        app.scan(&event, code(&ticket)).bearer(unknown).send().await.assert_refused(401, "door_link_over");
    }
    for call in [
        app.undo(&ticket),
        app.get(&format!("/tickets/check-ins?event_id={event}")),
        app.get(&format!("/tickets/door-links?event_id={event}")),
        app.get(&format!("/tickets/{}", code(&ticket))),
        app.get(&format!("/bookings/events/{event}/attendees")),
        app.get("/bookings"),
    ] {
        call.bearer(token).send().await.assert_refused(401, "invalid_token");
    }
    let stored: Vec<Vec<u8>> =
        sqlx::query_scalar("select token_hash from door_links").fetch_all(&app.pool).await.unwrap();
    assert!(stored.len() == 1 && stored[0].len() == 32 && token.len() == 48);
    app.neighbours.always("describe", Fault::Fails);
    let answer = app.scan(&event, code(&ticket)).bearer(token).send().await;
    answer.assert_refused(409, "already_checked_in");
}

#[tokio::test]
async fn a_door_link_ends_when_it_expires_or_is_revoked() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let (short, long) = (app.makes_door_link(&event, 1).await.body, app.makes_door_link(&event, 48).await.body);
    let path = format!("/tickets/door-links?event_id={event}");
    let asks = |token: &Value| app.get(&format!("/tickets?event_id={event}")).bearer(token.as_str().unwrap()).send();
    let revoke = |user, role| {
        app.delete(&format!("/tickets/door-links/{}", long["id"])).bearer(&app.token_as(user, role)).send()
    };

    asks(&short["token"]).await.assert_ok();
    app.clock().advance(TimeDelta::hours(1));
    asks(&short["token"]).await.assert_refused(401, "door_link_over");
    asks(&long["token"]).await.assert_ok();
    let listed = app.get(&path).bearer(&app.organizer()).send().await;
    revoke(ALICE, Role::Attendee).await.assert_refused(403, "role_required");
    revoke(ORGANIZER + 1, Role::Organizer).await.assert_refused(404, "door_link_not_found");
    assert_eq!(revoke(ORGANIZER, Role::Organizer).await.status, 204);
    asks(&long["token"]).await.assert_refused(401, "door_link_over");
    revoke(ORGANIZER, Role::Organizer).await.assert_refused(404, "door_link_not_found");

    let ids: Vec<&Value> = listed.assert_ok()["items"].as_array().unwrap().iter().map(|link| &link["id"]).collect();
    assert_eq!(ids, [&long["id"], &short["id"]]);
    assert!(listed.body["items"][0].get("token").is_none());
    let left = app.get(&path).bearer(&app.organizer()).send().await;
    assert_eq!(left.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_door_link_is_made_by_the_events_organizer_and_not_for_long() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    let body = |label: &str, hours: i64| json!({ "event_id": event, "label": label, "expires_at": app.clock().now() + TimeDelta::hours(hours) });
    let make = |user, role, body| app.post("/tickets/door-links", body).bearer(&app.token_as(user, role)).send();

    make(BOB, Role::Attendee, json!({})).await.assert_refused(403, "role_required");
    make(ORGANIZER + 1, Role::Organizer, body("x", 1)).await.assert_refused(403, "not_your_event");
    for (wrong, fields) in [
        (body("", 1), vec!["label"]),
        (body("x", 0), vec!["expires_at"]),
        (body("a\nb", 24 * 91), vec!["label", "expires_at"]),
    ] {
        let refused = make(ORGANIZER, Role::Organizer, wrong).await;
        refused.assert_refused(422, "invalid_request");
        assert_eq!(refused.fields(), fields);
    }
}

#[tokio::test]
async fn door_links_go_with_their_maker_and_some_time_after_they_expired() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 0);
    for hours in 1..=2 {
        assert_eq!(app.makes_door_link(&event, hours).await.status, 201);
    }
    app.execute(
        "update door_links set expires_at = now() - interval '31 days' where id = (select min(id) from door_links)",
    )
    .await;
    let count =
        async || -> i64 { sqlx::query_scalar("select count(*) from door_links").fetch_one(&app.pool).await.unwrap() };

    let purged = app.state().store.purge_door_links().await.unwrap();
    let left = count().await;
    app.receives(Uuid::new_v4(), app.account_deleted(ORGANIZER)).await;
    app.sweeps().await;

    assert_eq!((purged, left, count().await), (1, 1, 0));
}
