//! Every call that the service makes, with the values it makes it with. `stack test` leaves this module out where
//! there is no stripe-mock and no Go to build it with.

use booking_service::{
    clients::gateway::{GatewayFailure, GatewayRefundState, NewCharge, PaymentGateway},
    domain::charge::{Charge, ChargeState},
};
use reqwest::StatusCode;

use crate::stripe_mock::StripeMock;

const PAYMENT_KEY: &str = "0197b0c2-4a51-7c3e-9b62-3f1f0a9f7d10";
const CHARGE: NewCharge<'_> = NewCharge { booking_id: 3, amount: 4200, currency: "EUR" };

/// What stripe-mock's sample of a charge is to us. It is the same after every call.
fn sample(id: &str) -> Charge {
    Charge { id: id.to_owned(), state: ChargeState::Open, decline: None }
}

#[tokio::test]
async fn stripe_accepts_the_calls_for_charges() {
    let mock = StripeMock::start();
    let gateway = mock.gateway();

    let created = gateway.create_charge(&format!("{PAYMENT_KEY}-create"), CHARGE).await.unwrap();
    let confirmed =
        gateway.confirm_charge(&format!("{PAYMENT_KEY}-confirm"), &created.id, "pm_card_visa").await.unwrap();
    let found = gateway.fetch_charge(&created.id).await.unwrap();
    let cancelled = gateway.cancel_charge(&created.id).await.unwrap();

    assert!(created.id.starts_with("pi_"), "{created:?}");
    for charge in [&created, &confirmed, &found, &cancelled] {
        assert_eq!(charge, &sample(&created.id));
    }
}

#[tokio::test]
async fn stripe_accepts_the_list_of_charges_and_foreign_charges_are_ignored() {
    let mock = StripeMock::start();
    let since = platform::Clock::system().now();

    let page = mock.gateway().list_charges(since, Some("pi_3OqQ2Z2eZvKYlo2C")).await.unwrap();

    assert!(page.charges.is_empty(), "stripe-mock's sample carries no booking: {page:?}");
}

#[tokio::test]
async fn stripe_accepts_the_calls_for_refunds() {
    let mock = StripeMock::start();
    let gateway = mock.gateway();

    let refund =
        gateway.refund_charge("refund-7", "pi_3OqQ2Z2eZvKYlo2C", CHARGE.amount, CHARGE.currency).await.unwrap();
    let id = refund.id.clone().unwrap();
    let found = gateway.fetch_refund(&id).await.unwrap();

    assert!(id.starts_with("re_"), "{refund:?}");
    assert_eq!(refund.state, GatewayRefundState::Succeeded);
    assert_eq!(found, refund);
}

#[tokio::test]
async fn an_invalid_api_key_is_not_a_refusal_of_the_payment() {
    let mock = StripeMock::start();
    let gateway = mock.gateway_with_key("not a key of Stripe's");

    let created = gateway.create_charge(&format!("{PAYMENT_KEY}-create"), CHARGE).await;

    assert!(matches!(&created, Err(GatewayFailure::Failed(_))), "{created:?}");
}

#[tokio::test]
async fn stripe_mock_refuses_an_unknown_parameter() {
    let mock = StripeMock::start();
    let known = [("amount", "4200"), ("currency", "eur"), ("payment_method_types[]", "card")];
    let with_made_up = [&known[..], &[("made_up", "1")]].concat();

    let (accepted, _) = mock.post("payment_intents", &known).await;
    let (refused, reason) = mock.post("payment_intents", &with_made_up).await;

    assert_eq!(accepted, StatusCode::OK);
    assert_eq!(refused, StatusCode::BAD_REQUEST);
    assert!(reason.contains("additional properties are not allowed"), "{reason}");
}
