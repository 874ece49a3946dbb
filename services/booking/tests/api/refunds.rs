//! Refunds are made once, however the gateway behaves.

use booking_service::{flow::Run, store::ClaimedSaga};
use chrono::TimeDelta;

use crate::{
    helpers::{ALICE, TestApp},
    neighbours::Fault,
};

/// A paid booking that was cancelled while refunds failed.
async fn cancelled_with(fault: Fault) -> (TestApp, i32) {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.neighbours.always("refund", fault);
    let answer = app.cancel_request(ALICE, booking).send().await;
    assert_eq!((&answer.body["status"], &answer.body["refund"]["state"]), (&"Cancelled".into(), &"pending".into()));
    (app, booking)
}

async fn is_refunded_once(app: &TestApp, booking: i32) {
    app.stands(booking, "Cancelled", "Refunded").await;
    assert_eq!(app.neighbours.refunded(booking), 5000);
    assert_eq!(app.messages_about(booking).await, ["booking.confirmed", "booking.cancelled", "booking.refunded"]);
    let (payment,): (String,) = app.row("select state from payments where booking_id = $1", booking).await;
    assert_eq!(payment, "refunded");
    app.is_consistent().await;
}

#[tokio::test]
async fn a_failed_refund_is_retried_until_it_succeeds() {
    let (app, booking) = cancelled_with(Fault::Fails).await;
    app.sweeps().await;
    app.stands(booking, "Cancelled", "Paid").await;
    app.neighbours.recover();

    app.sweeps().await;
    app.sweeps().await;

    is_refunded_once(&app, booking).await;
}

#[tokio::test]
async fn a_refund_that_took_effect_but_answered_500_is_not_repeated() {
    let (app, booking) = cancelled_with(Fault::FailsAfterwards).await;
    app.neighbours.recover();

    app.sweeps().await;

    is_refunded_once(&app, booking).await;
}

#[tokio::test]
async fn a_refund_with_a_lost_response_is_not_repeated() {
    let (app, booking) = cancelled_with(Fault::AnswerLost).await;
    let (version,): (i32,) = app.row("select key_version from refunds where booking_id = $1", booking).await;
    assert_eq!(version, 0);
    app.neighbours.recover();

    app.sweeps().await;

    is_refunded_once(&app, booking).await;
}

#[tokio::test]
async fn a_pending_refund_is_fetched_again() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.neighbours.world().refund_status = Some("pending");
    app.cancel_request(ALICE, booking).send().await;
    app.sweeps().await;
    app.stands(booking, "Cancelled", "Paid").await;
    app.neighbours.world().refund_status = None;

    app.sweeps().await;

    assert_eq!(app.neighbours.calls("refund"), 1);
    is_refunded_once(&app, booking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sweepers_on_one_refund_refund_once() {
    let (app, booking) = cancelled_with(Fault::Fails).await;
    app.neighbours.recover();
    let saga = app.state().store.find_saga(booking).await.unwrap().unwrap();
    let claimed = ClaimedSaga { booking_id: booking, attempt: true, refund: true };
    let replica = app.replica();

    // As if the lease of one had ended while it was working.
    let (mut one, mut other) =
        (Run::resume(app.state(), saga.clone(), claimed), Run::resume(&replica.state, saga, claimed));
    let (one, other) = tokio::join!(one.drive(), other.drive());

    one.unwrap();
    other.unwrap();
    is_refunded_once(&app, booking).await;
}

#[tokio::test]
async fn amounts_are_converted_to_and_from_stripes_units() {
    let app = TestApp::with(&["--payment-provider", "stripe"]).await;
    let event = app.neighbours.event(10, 500);
    app.neighbours.world().events.get_mut(&event).unwrap().currency = "ISK";

    let booking = app.buys(&event, 2).await;
    let listed = app.state().gateway.list_charges(app.state().clock.now() - TimeDelta::days(1), None).await.unwrap();
    app.cancel_request(ALICE, booking).send().await;
    app.sweeps().await;

    app.stands(booking, "Cancelled", "Refunded").await;
    assert_eq!(app.booking(booking).await["amount"], 1000);
    assert_eq!(app.neighbours.charged(booking), (100_000, 1));
    assert_eq!(app.neighbours.refunded(booking), 100_000);
    assert_eq!((listed.charges[0].booking_id, listed.charges[0].amount), (booking, 1000));
}
