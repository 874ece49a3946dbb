//! Limits per person, which event-service enforces, and rejected bookings, which are deleted after a while.

use crate::{
    helpers::{ALICE, Answer, TestApp},
    neighbours::Trouble,
};

async fn count_bookings(app: &TestApp) -> i64 {
    let (count,): (i64,) = app.row("select count(*) from bookings where id > $1", 0).await;
    count
}

fn person_limit(app: &TestApp, limit: Option<(u16, &'static str)>) {
    app.neighbours.world().person_limit = limit;
}

#[tokio::test]
async fn who_holds_enough_seats_is_told_when_to_come_back_and_leaves_no_booking() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 2500);
    person_limit(&app, Some((429, "held_seats_limit")));
    let ask = || async { app.booking_request(ALICE, &event, 2).key("k").send().await };

    let (first, second) = (ask().await, ask().await);
    let after = count_bookings(&app).await;
    person_limit(&app, None);
    let later = ask().await;

    for answer in [first, second] {
        answer.is_refused(429, "held_seats_limit");
        assert_eq!(answer.header("retry-after"), "77");
    }
    assert_eq!(after, 0);
    assert_eq!(later.status, 201, "{later:?}");
    assert_eq!(app.neighbours.world().holds[0].user_id, Some(ALICE));
    app.is_consistent().await;
}

#[tokio::test]
async fn a_refusal_that_passes_is_forgotten_under_its_key_once_its_seats_are_certainly_not_held() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 2500);
    person_limit(&app, Some((429, "held_seats_limit")));
    // The answer to the first call is missing, so seats may still be on their way.
    app.neighbours.next("hold", &[Trouble::Fails]);
    let ask = || async { app.booking_request(ALICE, &event, 2).key("k").send().await };

    let refused = ask().await;
    let released = app.neighbours.calls("release");
    person_limit(&app, None);
    let later = ask().await;

    refused.is_refused(429, "held_seats_limit");
    assert_eq!(released, 1, "a tombstone keeps the first call from taking seats");
    assert_eq!(later.status, 201, "{later:?}");
    assert_eq!((count_bookings(&app).await, app.neighbours.seats(&event, "held")), (1, 2));
    app.is_consistent().await;
}

#[tokio::test]
async fn who_has_as_many_seats_as_a_person_may_have_is_refused_for_good() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 0);
    person_limit(&app, Some((409, "person_limit_reached")));
    let ask = || async { app.booking_request(ALICE, &event, 2).key("k").send().await };

    let first = ask().await;
    person_limit(&app, None);
    let again = ask().await;

    first.is_refused(409, "person_limit_reached");
    again.is_refused(409, "person_limit_reached");
    let (status, code): (String, String) =
        app.row("select status, rejection_code from bookings where id > $1", 0).await;
    assert_eq!((status.as_str(), code.as_str()), ("Rejected", "person_limit_reached"));
}

#[tokio::test]
async fn a_payment_that_comes_late_wins_seats_back_whatever_else_its_owner_holds() {
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
async fn a_replica_of_event_service_that_knows_no_persons_is_asked_as_before() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.neighbours.world().knows_no_persons = true;

    let booking = app.books(&event, 2).await;

    app.stands(booking, "Pending", "Unpaid").await;
    let asked: Vec<_> = app.neighbours.world().holds.iter().map(|ask| ask.user_id).collect();
    assert_eq!(asked, [Some(ALICE), None]);
    assert_eq!(app.neighbours.seats(&event, "held"), 2);
}

#[tokio::test]
async fn refused_bookings_are_removed_after_some_days_and_others_never() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(2, 0);
    let sold: Answer = app.booking_request(ALICE, &event, 2).send().await;
    app.booking_request(ALICE, &event, 1).send().await.is_refused(409, "sold_out");
    app.execute("update bookings set updated_at = now() - interval '71 hours'").await;

    booking_service::loops::sweeper::purge(app.state().clone()).await.unwrap();
    let after_three_days = count_bookings(&app).await;
    app.execute("update bookings set updated_at = now() - interval '73 hours'").await;
    booking_service::loops::sweeper::purge(app.state().clone()).await.unwrap();

    assert_eq!((after_three_days, count_bookings(&app).await), (2, 1));
    app.stands(sold.id(), "Confirmed", "Paid").await;
}
