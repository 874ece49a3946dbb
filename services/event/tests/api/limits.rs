//! The limits on the seats of one user, also under concurrent requests.

use std::collections::BTreeMap;

use contracts::reservation::DEADLINE;
use event_service::loops::sweeper;
use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::helpers::{Answer, TestApp, text};

/// How many seats were held.
fn seats_held(answers: &[Answer]) -> u64 {
    answers.iter().filter_map(|answer| answer.body["seats"].as_u64()).sum()
}

fn refused(answers: &[Answer], status: u16, code: &str) -> usize {
    answers.iter().filter(|answer| answer.status == status && answer.body["code"] == code).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_of_one_user_on_two_replicas_hold_at_most_the_seats_of_one_booking() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = app.sells(100).await;

    let requests = (0..60).map(|n| (if n % 2 == 0 { &app } else { &replica }).holds_of(1, &id, 1 + n % 3));
    let others = (2..22).map(|person| app.holds_of(person, &id, 1));
    let (requests, others) = tokio::join!(join_all(requests), join_all(others));

    let held = requests.iter().filter(|answer| answer.status == 200).count();
    assert!((8..=10).contains(&seats_held(&requests)), "{requests:?}");
    assert_eq!(held + refused(&requests, 429, "held_seats_limit"), 60, "{requests:?}");
    assert_eq!(seats_held(&others), 20, "other users have limits of their own");
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_of_one_user_get_free_seats_up_to_the_limit() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = text(&app.creates(&json!({ "price": 0, "capacity": 60 })).await["id"]);

    let requests = (0..60).map(|n| {
        let (app, id) = (if n % 2 == 0 { &app } else { &replica }, &id);
        async move {
            let hold = app.holds_of(1, id, 1).await;
            if hold.status == 200 {
                app.confirms(id, text(&hold.body["reservation_id"]).parse().unwrap()).await.assert_ok();
            }
            hold
        }
    });
    let requests = join_all(requests).await;

    assert_eq!((seats_held(&requests), refused(&requests, 409, "person_limit_reached")), (10, 50), "{requests:?}");
    assert_eq!(app.counters(&id).await, (50, 0, 10));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_at_the_limit_gets_retry_after_and_may_hold_again_when_the_first_hold_ends() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let earlier = app.holds_of(1, &id, 4).await;
    app.holds_of(1, &id, 6).await.assert_ok();

    let refusal = app.holds_of(1, &id, 1).await;
    expire_hold(&app, &text(&earlier.assert_ok()["reservation_id"])).await;
    let again = app.holds_of(1, &id, 4).await;

    refusal.assert_refused(429, "held_seats_limit");
    let seconds: i64 = refusal.header("retry-after").parse().unwrap();
    assert!((800..=900).contains(&seconds), "{seconds}");
    again.assert_ok();
    assert_eq!(app.counters(&id).await, (0, 10, 0));
    assert_eq!(sweeper::release_expired_holds(&app.app.state).await.unwrap(), 0);
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_organizer_sets_and_lifts_the_limit_per_user() {
    let app = TestApp::start().await;
    let id = text(&app.creates(&json!({ "max_seats_per_person": 3 })).await["id"]);
    app.holds_of(1, &id, 2).await.assert_ok();

    app.holds_of(1, &id, 2).await.assert_refused(409, "person_limit_reached");
    let lifted = app.edits(&id, &json!({ "max_seats_per_person": null })).await;
    app.holds_of(1, &id, 2).await.assert_ok();
    let refused = app.edits(&id, &json!({ "max_seats_per_person": 0 })).await;

    assert_eq!(lifted.assert_ok()["max_seats_per_person"], json!(null));
    assert_eq!((refused.status.as_u16(), refused.fields()), (422, vec!["max_seats_per_person"]));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answered_requests_for_seats_are_counted_by_their_result_and_other_refusals_are_not() {
    let app = TestApp::start().await;
    let (id, small, reservation) = (app.sells(100).await, app.sells(1).await, Uuid::new_v4());
    let late = json!({ "reservation_id": Uuid::new_v4(), "seats": 1, "hold_seconds": 900 });
    let before = holds_counted();

    app.holds(&id, reservation, 1).await.assert_ok();
    app.holds(&id, reservation, 1).await.assert_ok();
    app.holds_of(1, &id, 10).await.assert_ok();
    app.holds_of(1, &id, 1).await.assert_refused(429, "held_seats_limit");
    app.holds(&small, Uuid::new_v4(), 2).await.assert_refused(409, "sold_out");
    app.holds(&id, Uuid::new_v4(), 11).await.assert_refused(422, "too_many_seats");
    let path = format!("/api/events/{id}/decrease_capacity");
    let overloaded = app.put(&path, &late).bearer(&app.booking_service()).header(DEADLINE, "0").send().await;
    overloaded.assert_refused(429, "overloaded");

    let after = holds_counted();
    // Other tests of this process hold seats at the same time.
    for (result, least) in [("held", 3), ("person_limit", 1), ("sold_out", 1)] {
        let counted = after[result] - before.get(result).copied().unwrap_or_default();
        assert!(counted >= least, "{result}: {counted}");
    }
    assert_eq!(after.keys().collect::<Vec<_>>(), ["held", "person_limit", "sold_out"]);
    app.end().await;
}

/// `eventplatform_holds_total` of this process, by result.
fn holds_counted() -> BTreeMap<String, u64> {
    let rendered = platform::telemetry::metrics_handle().render();
    let counts = rendered.lines().filter_map(|line| {
        let (result, count) = line.strip_prefix("eventplatform_holds_total{result=\"")?.split_once("\"} ")?;
        Some((result.to_owned(), count.parse().unwrap()))
    });
    counts.collect()
}

/// Makes a hold expire now.
async fn expire_hold(app: &TestApp, reservation_id: &str) {
    let over = bson::doc! { "$set": { "expires_at": bson::DateTime::now() } };
    let reservations = app.database.collection::<bson::Document>("reservations");
    reservations.update_one(bson::doc! { "_id": reservation_id }, over).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_keeps_the_fields_of_a_newer_version_of_the_service() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let events = app.database.collection::<bson::Document>("events");
    let newer = bson::doc! { "$set": { "of_tomorrow": 7 } };
    events.update_one(bson::doc! { "_id": &id }, newer).await.unwrap();

    app.edits(&id, &json!({ "title": "Matinee", "category": "music" })).await.assert_ok();
    app.edits(&id, &json!({ "category": null })).await.assert_ok();

    let stored = events.find_one(bson::doc! { "_id": &id }).await.unwrap().unwrap();
    assert_eq!(stored.get_i32("of_tomorrow").unwrap(), 7);
    assert_eq!(app.event(&id).await.details.category, None);
    app.end().await;
}
