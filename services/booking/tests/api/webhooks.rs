//! Webhooks only trigger a fetch of the charge.

use axum::http::StatusCode;
use booking_service::clients::gateway::sign;
use chrono::TimeDelta;
use platform::Lifecycle;
use serde_json::{Value, json};

use crate::helpers::{Answer, TestApp, WEBHOOK_SECRET, wait_for};

impl TestApp {
    async fn webhook(&self, provider: &str, body: &Value, secret: &str, age: TimeDelta) -> Answer {
        let text = body.to_string();
        let signature = sign(text.as_bytes(), secret, self.clock().now() - age);
        let call = self.post(&format!("/payments/webhooks/{provider}"), Value::Null).body(text);
        call.header("stripe-signature", &signature).send().await
    }

    /// Sends a correctly signed event about a charge.
    async fn hears(&self, kind: &str, charge: &str) -> Answer {
        let object = json!({ "id": charge, "object": "payment_intent", "status": "succeeded" });
        let body = json!({ "id": "evt_1", "type": kind, "data": { "object": object } });
        self.webhook("mock", &body, WEBHOOK_SECRET, TimeDelta::zero()).await
    }
}

/// A booking whose payment is processing; the charge.
async fn processing(app: &TestApp) -> (i32, String) {
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    assert_eq!(app.pays(booking, "pm_mock_late").await.status, StatusCode::ACCEPTED);
    (booking, app.neighbours.charge_of(booking))
}

#[tokio::test]
async fn a_webhook_makes_a_sweeper_fetch_the_charge_and_confirm_the_booking() {
    let app = TestApp::start().await;
    let lifecycle = Lifecycle::new();
    let (booking, charge) = processing(&app).await;
    // Only a webhook makes it due.
    app.execute("update payments set next_check_at = now() + interval '1 hour'").await;
    booking_service::loops::sweeper::start(&lifecycle, app.state());
    app.neighbours.decide(&charge);

    let answer = app.hears("payment_intent.succeeded", &charge).await;

    assert_eq!(answer.status, StatusCode::OK);
    wait_for("the booking is confirmed", async || (app.standing(booking).await.0 == "Confirmed").then_some(())).await;
    for _ in 0..3 {
        assert_eq!(app.hears("payment_intent.succeeded", &charge).await.status, StatusCode::OK);
    }
    assert_eq!(app.messages_about(booking).await, ["booking.confirmed"]);
    lifecycle.stop();
    app.is_consistent().await;
}

#[tokio::test]
async fn the_content_of_a_webhook_is_not_trusted() {
    let app = TestApp::start().await;
    let (booking, charge) = processing(&app).await;

    app.hears("payment_intent.succeeded", &charge).await;
    app.sweeps().await;
    app.stands(booking, "Pending", "Unpaid").await;
    app.neighbours.decide(&charge);
    app.hears("payment_intent.payment_failed", &charge).await;
    app.hears("payment_intent.canceled", &charge).await;
    app.sweeps().await;

    app.stands(booking, "Confirmed", "Paid").await;
    app.is_consistent().await;
}

#[tokio::test]
async fn a_webhook_that_overtakes_the_response_does_not_affect_the_payment() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.neighbours.always("charge", crate::neighbours::Fault::Lost);
    let paying = tokio::spawn(app.payment_request(crate::helpers::ALICE, booking, "pm_card_visa").send());
    app.neighbours.called("charge", 1).await;

    // The attempt is leased to the request, so nobody cancels its charge.
    app.hears("payment_intent.created", &app.neighbours.charge_of(booking)).await;
    app.sweeps_what_is_due().await;

    assert_eq!(app.neighbours.calls("find"), 0);
    paying.await.unwrap().assert_refused(503, "payment_failed_before_charge");
}

#[tokio::test]
async fn webhooks_are_accepted_while_payments_wait_for_the_gateway() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 2500);
    let mut bookings = Vec::new();
    for _ in 0..40 {
        bookings.push(app.books(&event, 1).await);
    }
    app.neighbours.always("charge", crate::neighbours::Fault::Lost);
    let pay = |booking: i32| tokio::spawn(app.payment_request(crate::helpers::ALICE, booking, "pm_card_visa").send());
    let paying: Vec<_> = bookings.into_iter().map(pay).collect();
    // As many as are admitted at once; the others wait.
    app.neighbours.called("charge", 32).await;

    let heard = app.hears("payment_intent.succeeded", "pi_unknown").await;

    assert_eq!(heard.status, StatusCode::OK, "{heard:?}");
    assert_eq!(app.neighbours.calls("charge"), 32, "payments still wait");
    for payment in paying {
        payment.abort();
    }
}

#[tokio::test]
async fn forged_webhooks_are_refused() {
    let app = TestApp::start().await;
    let (_, charge) = processing(&app).await;
    let body = json!({ "data": { "object": { "id": charge, "object": "payment_intent" } } });

    let forged = app.webhook("mock", &body, "whsec_theirs", TimeDelta::zero()).await;
    let old = app.webhook("mock", &body, WEBHOOK_SECRET, TimeDelta::seconds(301)).await;
    let future = app.webhook("mock", &body, WEBHOOK_SECRET, TimeDelta::seconds(-301)).await;
    let unsigned = app.post("/payments/webhooks/mock", body.clone()).send().await;
    let elsewhere = app.webhook("stripe", &body, WEBHOOK_SECRET, TimeDelta::zero()).await;

    for refused in [forged, old, future, unsigned] {
        refused.assert_refused(400, "invalid_signature");
    }
    elsewhere.assert_refused(404, "provider_not_found");
}

#[tokio::test]
async fn webhooks_about_unknown_objects_are_accepted() {
    let app = TestApp::start().await;

    assert_eq!(app.hears("payment_intent.succeeded", "pi_unknown").await.status, StatusCode::OK);
    for charge in ["pi_\0", "", "pi \u{202e}", &"p".repeat(300)] {
        assert_eq!(app.hears("payment_intent.succeeded", charge).await.status, StatusCode::OK, "{charge:?}");
    }
    for body in [json!({}), json!([]), json!({ "data": { "object": { "object": "customer", "id": "cus_1" } } })] {
        let answer = app.webhook("mock", &body, WEBHOOK_SECRET, TimeDelta::zero()).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}");
    }
}
