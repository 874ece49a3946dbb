//! Owners cancel until a deadline and are refunded once.

use axum::http::StatusCode;
use booking_service::loops::consumer;
use chrono::{DateTime, TimeDelta, Utc};
use contracts::message::{EventFact, Message};
use platform::bus::Received;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    helpers::{ALICE, TestApp, all, instant},
    neighbours::Fault,
};

#[tokio::test]
async fn a_cancelled_booking_releases_its_seats_and_is_refunded() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;

    let answer = app.cancel_request(ALICE, booking).send().await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!((&answer.body["status"], &answer.body["payment_status"]), (&json!("Cancelled"), &json!("Refunded")));
    assert_eq!(answer.body["refund"], json!({ "state": "succeeded", "amount": 5000 }));
    assert_eq!(answer.body["cancel_reason"], "by_attendee");
    assert_eq!(app.neighbours.seats(&event, "confirmed"), 0);
    assert_eq!(app.neighbours.refunded(booking), 5000);
    assert_eq!(app.messages_about(booking).await, ["booking.confirmed", "booking.cancelled", "booking.refunded"]);
    let again = app.cancel_request(ALICE, booking).send().await;
    assert_eq!((again.status, again.body), (StatusCode::OK, answer.body));
    app.is_consistent().await;
}

#[tokio::test]
async fn a_pending_booking_is_cancelled_without_a_refund() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.clock().advance(TimeDelta::days(365));

    let answer = app.cancel_request(ALICE, booking).json(&json!({})).send().await;

    assert_eq!((&answer.body["status"], &answer.body["payment_status"]), (&json!("Cancelled"), &json!("Unpaid")));
    assert_eq!(answer.body.get("refund"), None);
    assert_eq!(app.neighbours.seats(&event, "held"), 0);
    assert_eq!(app.messages_about(booking).await, ["booking.cancelled"]);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_free_booking_is_cancelled_without_a_refund() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 0);
    let booking = app.books(&event, 2).await;

    let answer = app.cancel_request(ALICE, booking).send().await;

    assert_eq!((&answer.body["status"], &answer.body["payment_status"]), (&json!("Cancelled"), &json!("Paid")));
    assert_eq!(app.neighbours.seats(&event, "confirmed"), 0);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_booking_cannot_be_cancelled_after_the_deadline() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.clock().advance(TimeDelta::days(59) + TimeDelta::minutes(1));

    app.cancel_request(ALICE, booking).send().await.assert_refused(409, "cancel_deadline_passed");

    app.stands(booking, "Confirmed", "Paid").await;
    app.is_consistent().await;
}

/// The organizer changes start or venue, and booking-service consumes the message.
async fn moved(app: &TestApp, event: &str, starts_at: DateTime<Utc>, notified: bool, changed: &[&str], version: i64) {
    let fact = EventFact {
        event_id: event.to_owned(),
        title: "Concert".to_owned(),
        venue: "Park".to_owned(),
        starts_at,
        ends_at: starts_at + TimeDelta::hours(3),
        time_zone: "Europe/Berlin".to_owned(),
        changed: changed.iter().map(ToString::to_string).collect(),
        version,
        edited_version: None,
        unannounced: !notified,
        occurred_at: app.clock().now(),
    };
    let received = Received { id: Uuid::new_v4(), message: Message::EventChanged(fact) };
    consumer::handle(app.state(), received).await.unwrap();
}

#[tokio::test]
async fn moving_an_event_extends_cancellation_until_it_starts() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let (booking, title_only) = (app.buys(&event, 2).await, app.neighbours.event(10, 2500));
    let other = app.buys(&title_only, 1).await;
    let soon = app.clock().now() + TimeDelta::hours(23);
    let before = instant(&app.booking(booking).await["cancellable_until"]);

    moved(&app, &event, soon, false, &["starts_at"], 5).await;
    moved(&app, &title_only, soon, true, &["title"], 5).await;
    let seen = app.booking(booking).await;
    app.cancel_request(ALICE, other).send().await.assert_refused(409, "cancel_deadline_passed");
    let answer = app.cancel_request(ALICE, booking).send().await;

    assert!(before > app.clock().now() + TimeDelta::days(58), "{before}");
    assert_eq!(seen["cancellable_until"], seen["event_starts_at"]);
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["payment_status"], "Refunded");
    assert_eq!(answer.body["cancellable_until"], Value::Null);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_move_that_is_reverted_before_anybody_was_notified_does_not_extend_cancellation() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    let start = instant(&app.booking(booking).await["event_starts_at"]);

    moved(&app, &event, start, false, &["venue"], 5).await;
    moved(&app, &event, start, false, &[], 6).await;
    let taken_back = instant(&app.booking(booking).await["cancellable_until"]);
    moved(&app, &event, start, false, &["venue"], 7).await;
    moved(&app, &event, start, true, &["venue"], 9).await;
    moved(&app, &event, start, false, &[], 10).await;
    let told = instant(&app.booking(booking).await["cancellable_until"]);

    assert_eq!((taken_back, told), (start - TimeDelta::hours(24), start));
    let (messages,): (i64,) =
        app.row("select count(*) from outbox where message->>'type' = 'holder.event_changed' and $1 > 0", 1).await;
    assert_eq!(messages, 1, "a postponed notification is sent once");
}

#[tokio::test]
async fn a_move_stored_by_an_older_replica_extends_cancellation() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    let soon = app.clock().now() + TimeDelta::hours(23);

    sqlx::query(
        "update bookings set event_title = $2, event_starts_at = $3, event_version = $4, updated_at = now()
         where event_id = $1 and event_version < $4",
    )
    .bind(&event)
    .bind("Concert")
    .bind(soon)
    .bind(5_i64)
    .execute(&app.pool)
    .await
    .unwrap();

    let seen = app.booking(booking).await;
    assert_eq!(seen["cancellable_until"], seen["event_starts_at"]);
    assert_eq!(app.cancel_request(ALICE, booking).send().await.body["payment_status"], "Refunded");
}

#[tokio::test]
async fn a_booking_made_after_the_move_is_not_notified_of_it() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.neighbours.world().events.get_mut(&event).unwrap().version = Some(6);
    let booking = app.buys(&event, 2).await;
    let start = instant(&app.booking(booking).await["event_starts_at"]);

    moved(&app, &event, start - TimeDelta::days(30), true, &["venue", "starts_at"], 5).await;

    let seen = app.booking(booking).await;
    assert_eq!(instant(&seen["event_starts_at"]), start, "the hold is newer");
    assert_eq!(instant(&seen["cancellable_until"]), start - TimeDelta::hours(24));
    let (messages,): (i64,) =
        app.row("select count(*) from outbox where message->>'type' = 'holder.event_changed' and $1 > 0", 1).await;
    assert_eq!(messages, 0);
}

#[tokio::test]
async fn a_cancellation_is_finished_once_event_service_and_the_gateway_answer() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.neighbours.always("release", Fault::Fails);
    app.neighbours.always("refund", Fault::Fails);
    let answer = app.cancel_request(ALICE, booking).send().await;
    assert_eq!((&answer.body["status"], &answer.body["payment_status"]), (&json!("Cancelled"), &json!("Paid")));
    assert_eq!(answer.body["refund"]["state"], "pending");
    app.neighbours.recover();

    app.sweeps().await;

    app.stands(booking, "Cancelled", "Refunded").await;
    assert_eq!(app.neighbours.seats(&event, "confirmed"), 0);
    app.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_cancellations_refund_once() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;

    let answers = all((0..10).map(|_| app.cancel_request(ALICE, booking))).await;

    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    app.sweeps().await;
    assert_eq!(app.neighbours.refunded(booking), 5000);
    assert_eq!(app.messages_about(booking).await, ["booking.confirmed", "booking.cancelled", "booking.refunded"]);
    app.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_payment_and_cancellation_end_consistently() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(20, 2500);
    for _ in 0..8 {
        let booking = app.books(&event, 2).await;

        let (paid, cancelled) = tokio::join!(
            tokio::spawn(app.payment_request(ALICE, booking, "pm_card_visa").send()),
            tokio::spawn(app.cancel_request(ALICE, booking).send()),
        );

        let (paid, cancelled) = (paid.unwrap(), cancelled.unwrap());
        let (status, _) = app.standing(booking).await;
        match (paid.status.as_u16(), cancelled.status.as_u16()) {
            (201, 409) => assert_eq!(status, "Confirmed"),
            // Paid first, then cancelled with a refund; or cancelled first.
            (201 | 409, 200) => assert_eq!(status, "Cancelled"),
            other => panic!("{other:?} {paid:?} {cancelled:?}"),
        }
        app.is_consistent().await;
    }
}

#[tokio::test]
async fn a_body_with_unknown_fields_assert_refused() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;

    let answer = app.cancel_request(ALICE, booking).json(&json!({ "refund": 1 })).send().await;

    answer.assert_refused(400, "invalid_json");
}
