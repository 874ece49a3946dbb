//! Bookings are charged once, and a payment fails only when it certainly never charges.

use axum::http::StatusCode;
use booking_service::{flow::Run, store::ClaimedSaga};
use serde_json::{Value, json};

use crate::{
    helpers::{ALICE, BOB, TestApp, all, router, wait_for},
    neighbours::Fault,
};

impl TestApp {
    async fn payment(&self, id: i32) -> Value {
        let call = self.get(&format!("/payments/{id}")).bearer(&self.token(ALICE));
        let answer = call.send().await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body
    }
}

#[tokio::test]
async fn a_paid_booking_is_confirmed_and_its_owner_is_notified() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;

    let answer = app.pays(booking, "pm_card_visa").await;

    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!((&answer.body["booking_id"], &answer.body["status"]), (&json!(booking), &json!("Succeeded")));
    assert_eq!((&answer.body["amount"], &answer.body["currency"]), (&json!(5000), &json!("EUR")));
    assert_eq!(app.payment(answer.id()).await, answer.body);
    app.stands(booking, "Confirmed", "Paid").await;
    assert_eq!(app.neighbours.charged(booking), (5000, 1));
    assert_eq!(app.neighbours.seats(&event, "confirmed"), 2);
    assert_eq!(app.messages_about(booking).await, ["booking.confirmed"]);
    let (currency, status) = {
        let world = app.neighbours.world();
        let intent = world.intents.values().next().unwrap();
        (intent.currency.clone(), intent.status)
    };
    assert_eq!((currency.as_str(), status), ("eur", "succeeded"));
    app.is_consistent().await;
}

#[tokio::test]
async fn a_declined_card_keeps_the_hold_and_the_next_attempt_succeeds() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;

    let declined = app.pays(booking, "pm_card_visa_chargeDeclined").await;

    declined.assert_refused(402, "card_declined");
    assert_eq!(declined.body["detail"], "Your card was declined.");
    app.stands(booking, "Pending", "Failed").await;
    assert_eq!(app.neighbours.seats(&event, "held"), 2);
    let (attempt,): (i32,) = app.row("select id from payments where booking_id = $1", booking).await;
    let shown = app.payment(attempt).await;
    assert_eq!((&shown["status"], &shown["failure"]["code"]), (&json!("Failed"), &json!("card_declined")));
    assert_eq!(app.pays(booking, "pm_card_visa").await.status, StatusCode::CREATED);
    app.stands(booking, "Confirmed", "Paid").await;
    app.is_consistent().await;
}

#[tokio::test]
async fn a_failure_before_the_charge_can_be_retried_under_the_same_key() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.next("charge", &[Fault::Fails]);

    let failed = app.payment_request(ALICE, booking, "pm_card_visa").key("k").send().await;

    failed.assert_refused(503, "payment_failed_before_charge");
    assert!(!failed.header("retry-after").is_empty());
    assert!(app.neighbours.world().intents.values().all(|intent| intent.status == "canceled"));
    let again = app.payment_request(ALICE, booking, "pm_card_visa").key("k").send().await;
    assert_eq!(again.status, StatusCode::CREATED, "{again:?}");
    let replayed = app.payment_request(ALICE, booking, "pm_card_visa").key("k").send().await;
    assert_eq!(replayed.body, again.body);
    assert_eq!(app.neighbours.charged(booking), (5000, 1));
    app.is_consistent().await;
}

#[tokio::test]
async fn calls_without_a_response_are_repeated_under_the_same_key() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.next("create", &[Fault::AnswerLost]);
    app.neighbours.next("charge", &[Fault::AnswerLost]);

    let answer = app.pays(booking, "pm_card_visa").await;

    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::CREATED, &json!("Succeeded")), "{answer:?}");
    assert_eq!((app.neighbours.calls("create"), app.neighbours.calls("charge")), (2, 2));
    assert_eq!(app.neighbours.world().intents.len(), 1);
    assert_eq!(app.neighbours.charged(booking), (5000, 1));
    app.is_consistent().await;
}

#[tokio::test]
async fn a_gateway_that_never_creates_the_charge_charges_nothing() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.next("create", &[Fault::AnswerLost, Fault::Lost, Fault::Fails, Fault::Unauthorized]);

    for _ in 0..3 {
        app.pays(booking, "pm_card_visa").await.assert_refused(503, "payment_failed_before_charge");
    }

    assert_eq!(app.pays(booking, "pm_card_visa").await.status, StatusCode::CREATED);
    assert_eq!(app.neighbours.charged(booking), (5000, 1));
}

#[tokio::test]
async fn a_permanent_refusal_by_the_gateway_is_a_decline_and_its_response_is_stored() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.next("create", &[Fault::Refuses]);

    let request = || app.payment_request(ALICE, booking, "pm_card_visa").key("k");
    request().send().await.assert_refused(402, "payment_refused");
    request().send().await.assert_refused(402, "payment_refused");

    app.stands(booking, "Pending", "Failed").await;
    assert_eq!(app.neighbours.calls("create"), 1);
    assert_eq!(app.pays(booking, "pm_card_visa").await.status, StatusCode::CREATED);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_charge_without_a_response_is_fetched() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;

    let answer = app.pays(booking, "pm_mock_timeout").await;

    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::CREATED, &json!("Succeeded")), "{answer:?}");
    assert_eq!((app.neighbours.calls("charge"), app.neighbours.calls("find")), (2, 1));
    assert_eq!(app.neighbours.charged(booking), (5000, 1));
    app.is_consistent().await;
}

#[tokio::test]
async fn a_charge_that_cannot_be_fetched_is_processing_until_a_sweeper_fetches_it() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.always("charge", Fault::FailsAfterwards);
    app.neighbours.always("find", Fault::Lost);

    let answer = app.pays(booking, "pm_card_visa").await;

    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::ACCEPTED, &json!("Processing")), "{answer:?}");
    app.stands(booking, "Pending", "Unpaid").await;
    app.pays(booking, "pm_card_visa").await.assert_refused(409, "payment_in_progress");
    app.neighbours.recover();
    app.sweeps().await;
    app.stands(booking, "Confirmed", "Paid").await;
    assert_eq!(app.payment(answer.id()).await["status"], "Succeeded");
    assert_eq!(app.neighbours.charged(booking), (5000, 1));
    app.is_consistent().await;
}

#[tokio::test]
async fn an_open_charge_is_cancelled_before_its_attempt_is_failed() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.always("charge", Fault::Fails);
    app.neighbours.always("cancel", Fault::Fails);

    let answer = app.pays(booking, "pm_card_visa").await;

    // It could still be charged, so it is not failed.
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    app.sweeps().await;
    assert_eq!(app.payment(answer.id()).await["status"], "Processing");
    app.neighbours.recover();
    app.sweeps().await;
    assert_eq!(app.payment(answer.id()).await["status"], "Failed");
    app.stands(booking, "Pending", "Failed").await;
    let charge = app.neighbours.charge_of(booking);
    assert_eq!(app.neighbours.world().intents[&charge].status, "canceled");
}

#[tokio::test]
async fn an_unknown_payment_method_is_a_validation_error() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;

    let answer = app.pays(booking, "pm_nosuch").await;

    answer.assert_refused(422, "invalid_request");
    assert_eq!(answer.body["errors"][0]["field"], "payment_method");
    app.pays(booking, "").await.assert_refused(422, "invalid_request");
    app.pays(booking, "two words").await.assert_refused(422, "invalid_request");
    assert_eq!(app.pays(booking, "pm_card_visa").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_cannot_be_paid_is_refused_with_a_reason() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let paid = app.buys(&event, 1).await;
    let (cancelled, expired, late) =
        (app.books(&event, 1).await, app.books(&event, 1).await, app.books(&event, 1).await);
    app.cancel_request(ALICE, cancelled).send().await;
    app.execute("update bookings set expires_at = now() - interval '1 second' where status = 'Pending'").await;

    app.pays(paid, "pm_card_visa").await.assert_refused(409, "already_paid");
    app.pays(cancelled, "pm_card_visa").await.assert_refused(409, "booking_cancelled");
    app.pays(late, "pm_card_visa").await.assert_refused(409, "booking_expired");
    app.neighbours.end_holds();
    app.sweeps().await;
    app.stands(expired, "Expired", "Unpaid").await;
    app.pays(expired, "pm_card_visa").await.assert_refused(409, "booking_expired");
    app.pays(999_999, "pm_card_visa").await.assert_refused(404, "booking_not_found");
    let unknown = app.post("/payments", json!({ "booking_id": late, "payment_method": "pm", "amount": 1 }));
    unknown.bearer(&app.token(ALICE)).send().await.assert_refused(400, "invalid_json");
    assert_eq!(app.neighbours.calls("create"), 1);
}

#[tokio::test]
async fn a_booking_with_an_unknown_hold_cannot_be_paid_yet() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.neighbours.always("hold", Fault::Fails);
    app.booking_request(ALICE, &event, 1).send().await.assert_refused(503, "event_service_unavailable");
    let (id,): (i32,) = app.row("select id from bookings where user_id = $1", ALICE).await;

    app.pays(id, "pm_card_visa").await.assert_refused(503, "event_service_unavailable");
}

#[tokio::test]
async fn another_users_payment_is_not_found() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 1).await;
    let payment = app.pays(booking, "pm_card_visa").await.id();

    let theirs = app.get(&format!("/payments/{payment}")).bearer(&app.token(BOB)).send().await;

    theirs.assert_refused(404, "payment_not_found");
    app.get(&format!("/payments/{payment}")).send().await.assert_refused(401, "login_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_identical_payments_make_one_charge_and_twenty_identical_answers() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let event = app.neighbours.event(50, 1000);
    let booking = app.books(&event, 2).await;

    let calls = (0..20).map(|n| {
        let call = app.payment_request(ALICE, booking, "pm_card_visa").key("same");
        if n % 2 == 0 { call } else { call.to(router(&replica)) }
    });
    let answers = all(calls).await;

    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (StatusCode::CREATED, &answers[0].body));
    }
    assert_eq!(app.neighbours.charged(booking), (2000, 1));
    assert_eq!(app.neighbours.calls("charge"), 1);
    assert_eq!(app.messages_about(booking).await, ["booking.confirmed"]);
    app.is_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_under_different_keys_charge_once() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let event = app.neighbours.event(50, 1000);
    let booking = app.books(&event, 2).await;

    let calls = (0..20).map(|n| {
        let call = app.payment_request(ALICE, booking, "pm_card_visa");
        if n % 2 == 0 { call } else { call.to(router(&replica)) }
    });
    let answers = all(calls).await;

    assert_eq!(answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        assert!(["payment_in_progress", "already_paid"].contains(&answer.code()), "{answer:?}");
    }
    assert_eq!(app.neighbours.charged(booking), (2000, 1));
    app.is_consistent().await;
}

#[tokio::test]
async fn a_payment_is_processing_while_event_service_is_down_and_confirmed_afterwards() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.always("confirm", Fault::Fails);

    let answer = app.pays(booking, "pm_card_visa").await;

    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    app.stands(booking, "Pending", "Unpaid").await;
    app.cancel_request(ALICE, booking).send().await.assert_refused(409, "payment_in_progress");
    app.neighbours.recover();
    // Without waiting for a lease: the work was given up, so it is due after a short pause.
    wait_for("the booking is confirmed", async || {
        app.sweeps_what_is_due().await;
        (app.standing(booking).await.0 == "Confirmed").then_some(())
    })
    .await;
    assert_eq!(app.messages_about(booking).await, ["booking.confirmed"]);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_stop_the_payment() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;

    let call = tokio::spawn(app.payment_request(ALICE, booking, "pm_mock_timeout").key("k").send());
    app.neighbours.called("charge", 1).await;
    call.abort();

    wait_for("the booking is confirmed", async || (app.standing(booking).await.0 == "Confirmed").then_some(())).await;
    let replayed = app.payment_request(ALICE, booking, "pm_mock_timeout").key("k").send().await;
    assert_eq!(replayed.status, StatusCode::CREATED, "{replayed:?}");
    assert_eq!(app.neighbours.charged(booking), (5000, 1));
}

#[tokio::test]
async fn the_payment_config_names_the_provider_and_the_publishable_key() {
    let mock = TestApp::start().await;
    let stripe = TestApp::with(&["--payment-provider", "stripe", "--payment-publishable-key", "pk_test_ours"]).await;

    let told = mock.get("/payments/config").send().await;
    assert_eq!(told.body, json!({ "provider": "mock" }));
    let told = stripe.get("/payments/config").send().await;
    assert_eq!(told.body, json!({ "provider": "stripe", "publishable_key": "pk_test_ours" }));
    assert!(!told.body.to_string().contains("sk_test_ours"));
}

#[tokio::test]
async fn a_payment_settled_by_another_replica_meanwhile_is_no_error() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.always("confirm", Fault::Fails);
    app.pays(booking, "pm_card_visa").await;
    app.neighbours.recover();
    let saga = app.state().store.find_saga(booking).await.unwrap().unwrap();
    // The other replica commits after this one read the saga, and before it writes.
    let mut other = app.pool.begin().await.unwrap();
    for sql in [
        "lock table bookings in access exclusive mode",
        "update bookings set status = 'Confirmed', payment_status = 'Paid'",
        "update payments set state = 'succeeded', settled_at = now(), lease_until = null",
    ] {
        sqlx::query(sql).execute(&mut *other).await.unwrap();
    }

    let state = app.state().clone();
    let claimed = ClaimedSaga { booking_id: booking, attempt: true, refund: true };
    let settling =
        tokio::spawn(
            async move { Run::resume(&state, saga, claimed).drive().await.map_err(|error| error.to_string()) },
        );
    wait_for("it waits for the booking", async || {
        let waiting = "select count(*) from pg_locks where not granted and relation = 'bookings'::regclass and $1 > 0";
        let (waiting,): (i64,) = app.row(waiting, 1).await;
        (waiting > 0).then_some(())
    })
    .await;
    other.commit().await.unwrap();

    assert_eq!(settling.await.unwrap(), Ok(()));
    app.stands(booking, "Confirmed", "Paid").await;
}
