//! kill -9 between any two effects: a replica in its own runtime is destroyed during a call to another service, before
//! or after the call took effect. A retry or a sweeper continues from the stored state.

use std::time::Duration;

use axum::http::StatusCode;
use booking_service::{app::App, loops::sweeper};
use tokio::runtime::Runtime;

use crate::{
    helpers::{ALICE, Call, TestApp, router},
    neighbours::Fault::{self, AnswerLost, Lost},
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

    /// Sends a request and kills the replica as soon as `operation` was called, with the given fault.
    async fn dies_at(self, app: &TestApp, call: Call, operation: &'static str, fault: Fault) {
        self.dies_later_at(app, call, operation, 0, fault).await;
    }

    /// The same, when `operation` was called once more than `skip` times.
    async fn dies_later_at(self, app: &TestApp, call: Call, operation: &'static str, skip: usize, fault: Fault) {
        let calls = app.neighbours.calls(operation);
        app.neighbours.world().skip(operation, skip);
        app.neighbours.next(operation, &[fault]);
        self.runtime.spawn(call.to(router(&self.app)).send());
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

const PAYMENT_STEPS: [(&str, Fault); 6] = [
    ("create", Lost),
    ("create", AnswerLost),
    ("charge", Lost),
    ("charge", AnswerLost),
    ("confirm", Lost),
    ("confirm", AnswerLost),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_killed_at_any_step_is_finished_by_a_retry() {
    for (step, fault) in PAYMENT_STEPS {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.books(&event, 2).await;
        let request = || app.payment_request(ALICE, booking, "pm_card_visa").key("k");
        Doomed::start(&app).dies_at(&app, request(), step, fault).await;
        app.leases_end().await;

        let answer = request().send().await;

        assert_eq!(answer.status, StatusCode::CREATED, "{step} {fault:?}: {answer:?}");
        app.stands(booking, "Confirmed", "Paid").await;
        assert_eq!(app.neighbours.charged(booking), (5000, 1), "{step} {fault:?}");
        assert_eq!(app.messages_about(booking).await, ["booking.confirmed"]);
        app.sweeps().await;
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_killed_at_any_step_is_decided_by_the_sweepers() {
    for (step, fault) in PAYMENT_STEPS {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.books(&event, 2).await;
        let request = || app.payment_request(ALICE, booking, "pm_card_visa").key("k");
        Doomed::start(&app).dies_at(&app, request(), step, fault).await;

        app.sweeps().await;

        let charged = !matches!((step, fault), ("create", _) | ("charge", Lost));
        let wanted = match step {
            // The attempt is stored after its charge was created.
            "create" => ("Pending", "Unpaid"),
            _ if charged => ("Confirmed", "Paid"),
            _ => ("Pending", "Failed"),
        };
        app.stands(booking, wanted.0, wanted.1).await;
        assert_eq!(app.neighbours.charged(booking).1, usize::from(charged), "{step} {fault:?}");
        // The client retries nevertheless.
        let answer = request().send().await;
        assert_eq!(answer.status, StatusCode::CREATED, "{step} {fault:?}: {answer:?}");
        assert_eq!(app.neighbours.charged(booking), (5000, 1), "{step} {fault:?}");
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_was_killed_while_it_held_seats_is_finished_by_a_retry() {
    for fault in [Lost, AnswerLost] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let request = || app.booking_request(ALICE, &event, 2).key("k");
        Doomed::start(&app).dies_at(&app, request(), "hold", fault).await;
        app.execute("update idempotency_keys set lease_until = now() - interval '1 second'").await;

        let answer = request().send().await;

        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        assert_eq!(app.neighbours.seats(&event, "held"), 2);
        let (bookings,): (i64,) = app.row("select count(*) from bookings where user_id = $1", ALICE).await;
        assert_eq!(bookings, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_was_killed_while_it_held_seats_and_is_not_retried_keeps_none() {
    for fault in [Lost, AnswerLost] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let request = app.booking_request(ALICE, &event, 2).key("k");
        Doomed::start(&app).dies_at(&app, request, "hold", fault).await;

        app.sweeps().await;

        let (id,): (i32,) = app.row("select id from bookings where user_id = $1", ALICE).await;
        app.stands(id, "Rejected", "Unpaid").await;
        assert_eq!(app.neighbours.seats(&event, "held"), 0);
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_booking_that_was_killed_is_confirmed_by_a_sweeper() {
    for fault in [Lost, AnswerLost] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 0);
        let request = app.booking_request(ALICE, &event, 2).key("k");
        Doomed::start(&app).dies_at(&app, request, "confirm", fault).await;

        app.sweeps().await;

        let (id,): (i32,) = app.row("select id from bookings where user_id = $1", ALICE).await;
        app.stands(id, "Confirmed", "Paid").await;
        assert_eq!(app.messages_about(id).await, ["booking.confirmed"]);
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_was_killed_is_finished_by_the_sweepers() {
    for (step, fault) in [("release", Lost), ("release", AnswerLost), ("refund", Lost), ("refund", AnswerLost)] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.buys(&event, 2).await;
        Doomed::start(&app).dies_at(&app, app.cancel_request(ALICE, booking), step, fault).await;

        app.sweeps().await;

        app.stands(booking, "Cancelled", "Refunded").await;
        assert_eq!(app.neighbours.seats(&event, "confirmed"), 0);
        assert_eq!(app.neighbours.refunded(booking), 5000);
        assert_eq!(app.messages_about(booking).await, ["booking.confirmed", "booking.cancelled", "booking.refunded"]);
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holding_seats_again_survives_being_killed_at_every_step() {
    // The reservation is released, so the payment stores a new id, confirms (not found), holds, and confirms.
    for (step, skip, fault) in
        [("hold", 0, Lost), ("hold", 0, AnswerLost), ("confirm", 2, Lost), ("confirm", 2, AnswerLost)]
    {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.books(&event, 2).await;
        app.neighbours.world().reservations.values_mut().for_each(|reservation| reservation.state = "released");
        let request = app.payment_request(ALICE, booking, "pm_card_visa");
        Doomed::start(&app).dies_later_at(&app, request, step, skip, fault).await;

        app.sweeps().await;

        app.stands(booking, "Confirmed", "Paid").await;
        assert_eq!(app.neighbours.seats(&event, "confirmed"), 2, "{step} {fault:?}");
        assert_eq!(app.neighbours.seats(&event, "held"), 0, "{step} {fault:?}");
        assert_eq!(app.neighbours.charged(booking), (5000, 1));
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_lost_seats_survives_being_killed_at_every_step() {
    for (step, fault) in [("release", Lost), ("release", AnswerLost), ("refund", Lost), ("refund", AnswerLost)] {
        let app = TestApp::start().await;
        let event = app.neighbours.event(10, 2500);
        let booking = app.books(&event, 2).await;
        app.neighbours.world().reservations.values_mut().for_each(|reservation| reservation.state = "released");
        app.neighbours.sell_out(&event);
        let request = app.payment_request(ALICE, booking, "pm_card_visa");
        Doomed::start(&app).dies_at(&app, request, step, fault).await;

        app.sweeps().await;

        app.stands(booking, "Expired", "Refunded").await;
        assert_eq!(app.neighbours.refunded(booking), 5000);
        assert_eq!(app.messages_about(booking).await, ["booking.expired", "booking.refunded"]);
        app.is_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_killed_sweeper_are_swept_after_their_lease() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.holds_end().await;
    app.leases_end().await;
    app.neighbours.next("release", &[AnswerLost]);
    let doomed = Doomed::start(&app);
    let state = doomed.app.state.clone();
    doomed.runtime.spawn(async move { sweeper::run_due_sagas(&state).await });
    app.neighbours.called("release", 1).await;
    doomed.dies().await;

    app.sweeps_what_is_due().await;
    app.stands(booking, "Pending", "Unpaid").await;
    app.sweeps().await;

    app.stands(booking, "Expired", "Unpaid").await;
    assert_eq!(app.messages_about(booking).await, ["booking.expired"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_cancelled_by_a_sweeper_is_not_charged_by_a_slow_request() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    // The request hangs between creating and confirming the charge, for longer than its lease.
    app.neighbours.next("charge", &[Lost]);
    let paying = tokio::spawn(app.payment_request(ALICE, booking, "pm_card_visa").key("k").send());
    app.neighbours.called("charge", 1).await;

    app.sweeps().await;

    app.stands(booking, "Pending", "Failed").await;
    paying.await.unwrap().assert_refused(503, "payment_failed_before_charge");
    assert_eq!(app.neighbours.charged(booking), (0, 0));
    let again = app.payment_request(ALICE, booking, "pm_card_visa").key("k").send().await;
    assert_eq!(again.status, StatusCode::CREATED, "{again:?}");
    assert_eq!(app.neighbours.charged(booking), (5000, 1));
}
