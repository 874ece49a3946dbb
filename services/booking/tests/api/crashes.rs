//! kill -9 between any two effects: a replica in a runtime of its own is destroyed while a call of a neighbour hangs,
//! before or after that call took effect. Whoever comes next goes on from what is stored.

use std::time::Duration;

use axum::http::StatusCode;
use booking_service::app::App;
use tokio::runtime::Runtime;

use crate::{
    helpers::{ALICE, Call, TestApp},
    neighbours::Trouble::{self, AnswerLost, Lost},
};

/// A replica that is about to be killed.
struct Doomed {
    runtime: Runtime,
    app: App,
}

impl Doomed {
    fn start(app: &TestApp) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let context = runtime.enter();
        let replica = app.replica();
        drop(context);
        Self { runtime, app: replica }
    }

    /// Sends a request and kills the replica as soon as `operation` was called, in the given trouble.
    async fn dies_at(self, app: &TestApp, call: Call, operation: &'static str, trouble: Trouble) {
        self.dies_later_at(app, call, operation, 0, trouble).await;
    }

    /// The same, when `operation` was called once more than `skip` times.
    async fn dies_later_at(self, app: &TestApp, call: Call, operation: &'static str, skip: usize, trouble: Trouble) {
        let calls = app.neighbours.calls(operation);
        app.neighbours.world().skip(operation, skip);
        app.neighbours.next(operation, &[trouble]);
        self.runtime.spawn(call.to(&self.app).send());
        app.neighbours.called(operation, calls + skip + 1).await;
        self.dies().await;
    }

    async fn dies(self) {
        let Self { runtime, app } = self;
        tokio::task::spawn_blocking(move || {
            runtime.shutdown_timeout(Duration::from_secs(5));
            drop(app);
        })
        .await
        .unwrap();
    }
}

const PAYMENT_STEPS: [(&str, Trouble); 6] = [
    ("create", Lost),
    ("create", AnswerLost),
    ("charge", Lost),
    ("charge", AnswerLost),
    ("confirm", Lost),
    ("confirm", AnswerLost),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_killed_at_any_step_is_finished_by_the_same_request_again() {
    for (step, trouble) in PAYMENT_STEPS {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.books(&event, 2).await;
        let request = || app.payment_request(ALICE, booking, "pm_card_visa").key("k");
        Doomed::start(&app).dies_at(&app, request(), step, trouble).await;
        app.leases_end().await;

        let answer = request().send().await;

        assert_eq!(answer.status, StatusCode::CREATED, "{step} {trouble:?}: {answer:?}");
        app.stands(booking, "Confirmed", "Paid").await;
        assert_eq!(app.neighbours.charged(booking), (5000, 1), "{step} {trouble:?}");
        assert_eq!(app.told(booking).await, ["booking.confirmed"]);
        app.sweeps().await;
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_killed_at_any_step_is_decided_by_the_sweepers() {
    for (step, trouble) in PAYMENT_STEPS {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.books(&event, 2).await;
        let request = || app.payment_request(ALICE, booking, "pm_card_visa").key("k");
        Doomed::start(&app).dies_at(&app, request(), step, trouble).await;

        app.sweeps().await;

        let charged = !matches!((step, trouble), ("create", _) | ("charge", Lost));
        let wanted = if charged { ("Confirmed", "Paid") } else { ("Pending", "Failed") };
        app.stands(booking, wanted.0, wanted.1).await;
        assert_eq!(app.neighbours.charged(booking).1, usize::from(charged), "{step} {trouble:?}");
        // The client asks again all the same.
        let answer = request().send().await;
        assert_eq!(answer.status, StatusCode::CREATED, "{step} {trouble:?}: {answer:?}");
        assert_eq!(app.neighbours.charged(booking), (5000, 1), "{step} {trouble:?}");
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_was_killed_while_it_took_seats_is_finished_by_the_same_request_again() {
    for trouble in [Lost, AnswerLost] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let request = || app.booking_request(ALICE, &event, 2).key("k");
        Doomed::start(&app).dies_at(&app, request(), "hold", trouble).await;
        app.execute("update idempotency_keys set lease_until = now() - interval '1 second'").await;

        let answer = request().send().await;

        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert_eq!(app.neighbours.seats(&event, "held"), 2);
        let (bookings,): (i64,) = app.row("select count(*) from bookings where user_id = $1", ALICE).await;
        assert_eq!(bookings, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_was_killed_while_it_took_seats_and_never_came_back_keeps_none() {
    for trouble in [Lost, AnswerLost] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let request = app.booking_request(ALICE, &event, 2).key("k");
        Doomed::start(&app).dies_at(&app, request, "hold", trouble).await;

        app.sweeps().await;

        let (id,): (i32,) = app.row("select id from bookings where user_id = $1", ALICE).await;
        app.stands(id, "Rejected", "Unpaid").await;
        assert_eq!(app.neighbours.seats(&event, "held"), 0);
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_booking_that_was_killed_is_confirmed_by_a_sweeper() {
    for trouble in [Lost, AnswerLost] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 0);
        let request = app.booking_request(ALICE, &event, 2).key("k");
        Doomed::start(&app).dies_at(&app, request, "confirm", trouble).await;

        app.sweeps().await;

        let (id,): (i32,) = app.row("select id from bookings where user_id = $1", ALICE).await;
        app.stands(id, "Confirmed", "Paid").await;
        assert_eq!(app.told(id).await, ["booking.confirmed"]);
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_was_killed_is_finished_by_the_sweepers() {
    for (step, trouble) in [("release", Lost), ("release", AnswerLost), ("refund", Lost), ("refund", AnswerLost)] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.buys(&event, 2).await;
        Doomed::start(&app).dies_at(&app, app.cancel_request(ALICE, booking), step, trouble).await;

        app.sweeps().await;

        app.stands(booking, "Cancelled", "Refunded").await;
        assert_eq!(app.neighbours.seats(&event, "confirmed"), 0);
        assert_eq!(app.neighbours.refunded(booking), 5000);
        assert_eq!(app.told(booking).await, ["booking.confirmed", "booking.cancelled", "booking.refunded"]);
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn winning_seats_back_survives_being_killed_at_every_step() {
    // The reservation is gone, so the payment stores a new id, asks (not found), holds, and confirms.
    for (step, skip, trouble) in
        [("hold", 0, Lost), ("hold", 0, AnswerLost), ("confirm", 2, Lost), ("confirm", 2, AnswerLost)]
    {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.books(&event, 2).await;
        app.neighbours.world().reservations.values_mut().for_each(|reservation| reservation.state = "released");
        let request = app.payment_request(ALICE, booking, "pm_card_visa");
        Doomed::start(&app).dies_later_at(&app, request, step, skip, trouble).await;

        app.sweeps().await;

        app.stands(booking, "Confirmed", "Paid").await;
        assert_eq!(app.neighbours.seats(&event, "confirmed"), 2, "{step} {trouble:?}");
        assert_eq!(app.neighbours.seats(&event, "held"), 0, "{step} {trouble:?}");
        assert_eq!(app.neighbours.charged(booking), (5000, 1));
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_lost_seats_survives_being_killed_at_every_step() {
    for (step, trouble) in [("release", Lost), ("release", AnswerLost), ("refund", Lost), ("refund", AnswerLost)] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.books(&event, 2).await;
        app.neighbours.world().reservations.values_mut().for_each(|reservation| reservation.state = "released");
        app.neighbours.sell_out(&event);
        let request = app.payment_request(ALICE, booking, "pm_card_visa");
        Doomed::start(&app).dies_at(&app, request, step, trouble).await;

        app.sweeps().await;

        app.stands(booking, "Expired", "Refunded").await;
        assert_eq!(app.neighbours.refunded(booking), 5000);
        assert_eq!(app.told(booking).await, ["booking.expired", "booking.refunded"]);
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweeper_that_is_killed_leaves_its_rows_to_the_next_after_their_lease() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.holds_end().await;
    app.leases_end().await;
    app.neighbours.next("release", &[AnswerLost]);
    let doomed = Doomed::start(&app);
    doomed.runtime.spawn(booking_service::loops::sweeper::bookings(doomed.app.state().clone()));
    app.neighbours.called("release", 1).await;
    doomed.dies().await;

    app.sweeps_what_is_due().await;
    app.stands(booking, "Pending", "Unpaid").await;
    app.sweeps().await;

    app.stands(booking, "Expired", "Unpaid").await;
    assert_eq!(app.told(booking).await, ["booking.expired"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_a_sweeper_cancelled_is_not_charged_by_a_request_that_wakes_up() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    // The request hangs between naming and charging, for longer than its lease.
    app.neighbours.next("charge", &[Lost]);
    let paying = tokio::spawn(app.payment_request(ALICE, booking, "pm_card_visa").key("k").send());
    app.neighbours.called("charge", 1).await;

    app.sweeps().await;

    app.stands(booking, "Pending", "Failed").await;
    paying.await.unwrap().is_refused(503, "payment_failed_before_charge");
    assert_eq!(app.neighbours.charged(booking), (0, 0));
    let again = app.payment_request(ALICE, booking, "pm_card_visa").key("k").send().await;
    assert_eq!(again.status, StatusCode::CREATED, "{again:?}");
    assert_eq!(app.neighbours.charged(booking), (5000, 1));
}
