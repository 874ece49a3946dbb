//! Limits per person, which event-service enforces, and rejected bookings, which are deleted after a while.

use crate::{
    helpers::{ALICE, Answer, TestApp},
    neighbours::Fault,
};

async fn count_bookings(app: &TestApp) -> i64 {
    let (count,): (i64,) = app.row("select count(*) from bookings where id > $1", 0).await;
    count
}

fn person_limit(app: &TestApp, limit: Option<(u16, &'static str)>) {
    app.neighbours.world().person_limit = limit;
}

#[tokio::test]
async fn the_held_seats_limit_is_temporary_and_leaves_no_booking() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 2500);
    person_limit(&app, Some((429, "held_seats_limit")));
    let ask = || async { app.booking_request(ALICE, &event, 2).key("k").send().await };

    let (first, second) = (ask().await, ask().await);
    let after = count_bookings(&app).await;
    person_limit(&app, None);
    let later = ask().await;

    for answer in [first, second] {
        answer.assert_refused(429, "held_seats_limit");
        assert_eq!(answer.header("retry-after"), "77");
    }
    assert_eq!(after, 0);
    assert_eq!(later.status, 201, "{later:?}");
    assert_eq!(app.neighbours.world().holds[0].user_id, Some(ALICE));
    app.is_consistent().await;
}

#[tokio::test]
async fn a_temporary_refusal_is_not_stored_under_its_key_once_its_seats_are_certainly_not_held() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 2500);
    person_limit(&app, Some((429, "held_seats_limit")));
    // The response to the first call is missing, so the hold may still arrive.
    app.neighbours.next("hold", &[Fault::Fails]);
    let ask = || async { app.booking_request(ALICE, &event, 2).key("k").send().await };

    let refused = ask().await;
    let released = app.neighbours.calls("release");
    person_limit(&app, None);
    let later = ask().await;

    refused.assert_refused(429, "held_seats_limit");
    assert_eq!(released, 1, "a tombstone keeps the first call from taking seats");
    assert_eq!(later.status, 201, "{later:?}");
    assert_eq!((count_bookings(&app).await, app.neighbours.seats(&event, "held")), (1, 2));
    app.is_consistent().await;
}

#[tokio::test]
async fn the_limit_of_seats_per_person_is_a_permanent_refusal() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 0);
    person_limit(&app, Some((409, "person_limit_reached")));
    let ask = || async { app.booking_request(ALICE, &event, 2).key("k").send().await };

    let first = ask().await;
    person_limit(&app, None);
    let again = ask().await;

    first.assert_refused(409, "person_limit_reached");
    again.assert_refused(409, "person_limit_reached");
    let (status, code): (String, String) =
        app.row("select status, rejection_code from bookings where id > $1", 0).await;
    assert_eq!((status.as_str(), code.as_str()), ("Rejected", "person_limit_reached"));
}

#[tokio::test]
async fn a_late_payment_gets_seats_regardless_of_the_owners_limits() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let (booking, charge) = app.pays_late(&event).await;
    person_limit(&app, Some((429, "held_seats_limit")));

    app.neighbours.decide(&charge);
    app.sweeps().await;

    app.stands(booking, "Confirmed", "Paid").await;
    let asked: Vec<_> = app.neighbours.world().holds.iter().map(|ask| (ask.user_id, ask.paid)).collect();
    assert_eq!(asked, [(Some(ALICE), false), (Some(ALICE), true)]);
    app.is_consistent().await;
}

#[tokio::test]
async fn an_older_event_service_gets_holds_without_the_user() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.neighbours.world().without_person_limits = true;

    let booking = app.books(&event, 2).await;

    app.stands(booking, "Pending", "Unpaid").await;
    let asked: Vec<_> = app.neighbours.world().holds.iter().map(|ask| ask.user_id).collect();
    assert_eq!(asked, [Some(ALICE), None]);
    assert_eq!(app.neighbours.seats(&event, "held"), 2);
}

#[tokio::test]
async fn only_rejected_bookings_are_deleted_after_some_days() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(2, 0);
    let sold: Answer = app.booking_request(ALICE, &event, 2).send().await;
    app.booking_request(ALICE, &event, 1).send().await.assert_refused(409, "sold_out");
    app.execute("update bookings set updated_at = now() - interval '71 hours'").await;

    booking_service::loops::sweeper::purge(app.state().clone()).await.unwrap();
    let after_three_days = count_bookings(&app).await;
    app.execute("update bookings set updated_at = now() - interval '73 hours'").await;
    booking_service::loops::sweeper::purge(app.state().clone()).await.unwrap();

    assert_eq!((after_three_days, count_bookings(&app).await), (2, 1));
    app.stands(sold.id(), "Confirmed", "Paid").await;
}
