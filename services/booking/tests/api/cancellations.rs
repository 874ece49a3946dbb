//! Owners cancel: until a deadline, with their money back, once.

use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::json;

use crate::{
    helpers::{ALICE, TestApp, all},
    neighbours::Trouble,
};

#[tokio::test]
async fn a_cancelled_booking_gives_seats_and_money_back() {
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
    assert_eq!(app.told(booking).await, ["booking.confirmed", "booking.cancelled", "booking.refunded"]);
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
    assert_eq!(app.told(booking).await, ["booking.cancelled"]);
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
async fn a_day_before_the_event_it_is_too_late() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.clock().advance(TimeDelta::days(59) + TimeDelta::minutes(1));

    app.cancel_request(ALICE, booking).send().await.is_refused(409, "cancel_deadline_passed");

    app.stands(booking, "Confirmed", "Paid").await;
    app.is_consistent().await;
}

#[tokio::test]
async fn what_event_service_and_the_gateway_do_not_answer_is_finished_later() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.neighbours.always("release", Trouble::Fails);
    app.neighbours.always("refund", Trouble::Fails);
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
async fn many_cancellations_at_once_are_one() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;

    let answers = all((0..10).map(|_| app.cancel_request(ALICE, booking))).await;

    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    app.sweeps().await;
    assert_eq!(app.neighbours.refunded(booking), 5000);
    assert_eq!(app.told(booking).await, ["booking.confirmed", "booking.cancelled", "booking.refunded"]);
    app.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paying_and_cancelling_at_once_ends_in_one_of_both() {
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
async fn a_body_with_unknown_fields_is_refused() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;

    let answer = app.cancel_request(ALICE, booking).json(&json!({ "refund": 1 })).send().await;

    answer.is_refused(400, "invalid_json");
}
