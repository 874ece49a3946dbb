//! Holds expire; late payments get seats again or are refunded.

use axum::http::StatusCode;

use crate::{
    helpers::{ALICE, TestApp, all},
    neighbours::Fault,
};

#[tokio::test]
async fn an_unpaid_hold_expires_and_its_owner_is_notified_once() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.sweeps().await;
    app.stands(booking, "Pending", "Unpaid").await;
    app.holds_end().await;

    app.sweeps().await;
    app.sweeps().await;

    app.stands(booking, "Expired", "Unpaid").await;
    assert_eq!(app.neighbours.seats(&event, "held"), 0);
    assert_eq!(app.messages_about(booking).await, ["booking.expired"]);
    app.cancel_request(ALICE, booking).send().await.assert_refused(409, "booking_expired");
    app.is_consistent().await;
}

#[tokio::test]
async fn only_event_services_clock_decides_whether_a_hold_is_over() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.execute("update bookings set expires_at = now() - interval '1 second'").await;

    app.sweeps().await;

    app.stands(booking, "Pending", "Unpaid").await;
    assert_eq!(app.neighbours.seats(&event, "held"), 2);
}

#[tokio::test]
async fn a_hold_is_due_for_the_sweeper_when_it_ends_and_not_before() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let ending = app.neighbours.event(10, 2500);
    app.books(&event, 2).await;
    let booking = app.books(&ending, 2).await;
    app.neighbours.end_holds();
    app.execute(
        "update bookings set expires_at = now() - interval '1 second', next_check_at = now() - interval '1 second'
         where id = (select max(id) from bookings)",
    )
    .await;

    app.sweeps_what_is_due().await;

    app.stands(booking, "Expired", "Unpaid").await;
    assert_eq!(app.neighbours.calls("release"), 1);
}

#[tokio::test]
async fn expiry_waits_for_event_service() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.holds_end().await;
    app.neighbours.always("release", Fault::FailsAfterwards);
    app.sweeps().await;
    app.stands(booking, "Pending", "Unpaid").await;
    app.neighbours.recover();

    app.sweeps().await;

    app.stands(booking, "Expired", "Unpaid").await;
    assert_eq!(app.messages_about(booking).await, ["booking.expired"]);
}

#[tokio::test]
async fn a_payment_after_expiry_gets_the_seats_under_a_new_reservation() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let (booking, charge) = app.pays_late(&event).await;
    let (old,): (uuid::Uuid,) = app.row("select reservation_id from bookings where id = $1", booking).await;
    app.neighbours.decide(&charge);

    app.sweeps().await;

    app.stands(booking, "Confirmed", "Paid").await;
    let (new,): (uuid::Uuid,) = app.row("select reservation_id from bookings where id = $1", booking).await;
    assert_ne!(new, old);
    assert_eq!(app.neighbours.world().reservations[&old].state, "released");
    assert_eq!(app.neighbours.seats(&event, "confirmed"), 2);
    assert_eq!(app.messages_about(booking).await, ["booking.expired", "booking.confirmed"]);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_payment_after_expiry_of_a_sold_out_event_is_refunded() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let (booking, charge) = app.pays_late(&event).await;
    app.neighbours.sell_out(&event);
    app.neighbours.decide(&charge);

    app.sweeps().await;

    app.stands(booking, "Expired", "Refunded").await;
    assert_eq!(app.neighbours.refunded(booking), 5000);
    assert_eq!(app.messages_about(booking).await, ["booking.expired", "booking.refunded"]);
    let seen = app.booking(booking).await;
    assert_eq!((&seen["refund"]["state"], &seen["refund"]["amount"]), (&"succeeded".into(), &5000.into()));
    app.is_consistent().await;
}

#[tokio::test]
async fn a_payment_whose_hold_is_released_while_it_charges_gets_the_seats_again() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.world().reservations.values_mut().for_each(|reservation| reservation.state = "released");

    let answer = app.pays(booking, "pm_card_visa").await;

    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    app.stands(booking, "Confirmed", "Paid").await;
    assert_eq!(app.messages_about(booking).await, ["booking.confirmed"]);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_payment_whose_seats_are_gone_is_refused_and_refunded_at_once() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.world().reservations.values_mut().for_each(|reservation| reservation.state = "released");
    app.neighbours.sell_out(&event);

    let answer = app.payment_request(ALICE, booking, "pm_card_visa").key("k").send().await;

    answer.assert_refused(409, "booking_expired");
    app.stands(booking, "Expired", "Refunded").await;
    assert_eq!(app.messages_about(booking).await, ["booking.expired", "booking.refunded"]);
    assert_eq!(app.neighbours.refunded(booking), 5000);
    app.payment_request(ALICE, booking, "pm_card_visa").key("k").send().await.assert_refused(409, "booking_expired");
    app.is_consistent().await;
}

#[tokio::test]
async fn a_payment_for_a_cancelled_event_is_refunded() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.world().events.get_mut(&event).unwrap().cancelled = true;

    let answer = app.pays(booking, "pm_card_visa").await;

    answer.assert_refused(409, "booking_cancelled");
    app.stands(booking, "Cancelled", "Refunded").await;
    assert_eq!(app.messages_about(booking).await, ["booking.cancelled", "booking.refunded"]);
    assert_eq!(app.neighbours.seats(&event, "held"), 0);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_late_payment_for_a_cancelled_event_is_refunded() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let (booking, charge) = app.pays_late(&event).await;
    app.neighbours.world().events.get_mut(&event).unwrap().cancelled = true;
    app.neighbours.decide(&charge);

    app.sweeps().await;

    app.stands(booking, "Expired", "Refunded").await;
    app.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_payments_and_expiry_end_consistently() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let event = app.neighbours.event(20, 2500);
    let mut bookings = Vec::new();
    for _ in 0..10 {
        bookings.push(app.books(&event, 2).await);
    }
    let calls: Vec<_> = bookings.iter().map(|id| app.payment_request(ALICE, *id, "pm_card_visa")).collect();
    app.neighbours.end_holds();
    // Due for the sweepers, but still payable.
    app.execute("update bookings set next_check_at = now() - interval '1 second'").await;

    let sweep = |app: &booking_service::app::App| {
        let state = app.state.clone();
        tokio::spawn(async move { booking_service::loops::sweeper::run_due_sagas(&state).await.unwrap() })
    };
    let (one, other) = (sweep(&app.app), sweep(&replica));
    let answers = all(calls).await;
    one.await.unwrap();
    other.await.unwrap();
    app.sweeps().await;

    for (booking, answer) in bookings.iter().zip(answers) {
        let (status, payment_status) = app.standing(*booking).await;
        match answer.status.as_u16() {
            201 => assert_eq!((status.as_str(), payment_status.as_str()), ("Confirmed", "Paid")),
            _ => assert_eq!((status.as_str(), payment_status.as_str()), ("Expired", "Unpaid"), "{answer:?}"),
        }
        let told = app.messages_about(*booking).await;
        assert!(told.iter().filter(|kind| *kind == "booking.confirmed").count() <= 1, "{told:?}");
        assert!(told.iter().filter(|kind| *kind == "booking.expired").count() <= 1, "{told:?}");
    }
    app.is_consistent().await;
}
