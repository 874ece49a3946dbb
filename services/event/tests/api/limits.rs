//! How many seats one person may hold and have, however many requests come at once.

use event_service::sweeper;
use futures::future::join_all;
use serde_json::json;

use crate::helpers::{Answer, TestApp, text};

/// Seats that were given.
fn given(answers: &[Answer]) -> u64 {
    answers.iter().filter_map(|answer| answer.body["seats"].as_u64()).sum()
}

fn refused(answers: &[Answer], status: u16, code: &str) -> usize {
    answers.iter().filter(|answer| answer.status == status && answer.body["code"] == code).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_one_person_over_two_replicas_holds_one_bookings_worth() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = app.sells(100).await;

    let storm = (0..60).map(|n| (if n % 2 == 0 { &app } else { &replica }).holds_of(1, &id, 1 + n % 3));
    let others = (2..22).map(|person| app.holds_of(person, &id, 1));
    let (storm, others) = tokio::join!(join_all(storm), join_all(others));

    let held = storm.iter().filter(|answer| answer.status == 200).count();
    assert!((8..=10).contains(&given(&storm)), "{storm:?}");
    assert_eq!(held + refused(&storm, 429, "held_seats_limit"), 60, "{storm:?}");
    assert_eq!(given(&others), 20, "somebody else's limit is their own");
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_one_person_gets_the_free_seats_of_one_person() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = text(&app.creates(&json!({ "price": 0, "capacity": 60 })).await["id"]);

    let storm = (0..60).map(|n| {
        let (app, id) = (if n % 2 == 0 { &app } else { &replica }, &id);
        async move {
            let hold = app.holds_of(1, id, 1).await;
            if hold.status == 200 {
                app.confirms(id, text(&hold.body["reservation_id"]).parse().unwrap()).await.assert_ok();
            }
            hold
        }
    });
    let storm = join_all(storm).await;

    assert_eq!((given(&storm), refused(&storm, 409, "person_limit_reached")), (10, 50), "{storm:?}");
    assert_eq!(app.counters(&id).await, (50, 0, 10));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_enough_is_told_when_the_first_hold_ends_and_may_then_hold_again() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let earlier = app.holds_of(1, &id, 4).await;
    app.holds_of(1, &id, 6).await.assert_ok();

    let refusal = app.holds_of(1, &id, 1).await;
    end_hold(&app, &text(&earlier.assert_ok()["reservation_id"])).await;
    let again = app.holds_of(1, &id, 4).await;

    refusal.assert_refused(429, "held_seats_limit");
    let seconds: i64 = refusal.retry_after.unwrap().to_str().unwrap().parse().unwrap();
    assert!((800..=900).contains(&seconds), "{seconds}");
    again.assert_ok();
    assert_eq!(app.counters(&id).await, (0, 10, 0));
    assert_eq!(sweeper::sweep(&app.app.state().store, &app.app.state().capacity).await.unwrap(), 0);
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_organizer_sets_and_lifts_the_limit_of_a_person() {
    let app = TestApp::start().await;
    let id = text(&app.creates(&json!({ "max_seats_per_person": 3 })).await["id"]);
    app.holds_of(1, &id, 2).await.assert_ok();

    app.holds_of(1, &id, 2).await.assert_refused(409, "person_limit_reached");
    let lifted = app.edits(&id, &json!({ "max_seats_per_person": null })).await;
    app.holds_of(1, &id, 2).await.assert_ok();
    let refused = app.edits(&id, &json!({ "max_seats_per_person": 0 })).await;

    assert_eq!(lifted.assert_ok()["max_seats_per_person"], json!(null));
    assert_eq!((refused.status.as_u16(), refused.fields()), (422, vec!["max_seats_per_person".to_owned()]));
    app.end().await;
}

/// The time of a hold is over.
async fn end_hold(app: &TestApp, reservation_id: &str) {
    let over = bson::doc! { "$set": { "expires_at": bson::DateTime::now() } };
    let reservations = app.database.collection::<bson::Document>("reservations");
    reservations.update_one(bson::doc! { "_id": reservation_id }, over).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_keeps_what_a_newer_version_of_the_service_stored_with_the_event() {
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
