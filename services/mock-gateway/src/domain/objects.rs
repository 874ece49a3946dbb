//! The JSON of Stripe's objects (<https://docs.stripe.com/api>), with the fields of the implemented subset.

use serde_json::{Value, json};

use super::intent::{Charge, PaymentIntent, Refund};

const API_VERSION: &str = "2024-06-20";

pub fn payment_intent(intent: &PaymentIntent) -> Value {
    let automatic = json!({ "allow_redirects": "always", "enabled": true });
    json!({
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": 0,
        "amount_details": { "tip": {} },
        "amount_received": intent.amount_received,
        "application": null,
        "application_fee_amount": null,
        "automatic_payment_methods": if intent.automatic_payment_methods { automatic } else { Value::Null },
        "canceled_at": intent.canceled_at.map(|at| at.timestamp()),
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": intent.capture_method,
        "client_secret": intent.client_secret,
        "confirmation_method": "automatic",
        "created": intent.created_at.timestamp(),
        "currency": intent.currency,
        "customer": null,
        "description": intent.description,
        "invoice": null,
        "last_payment_error": intent.last_payment_error,
        "latest_charge": intent.latest_charge,
        "livemode": false,
        "metadata": intent.metadata,
        "next_action": null,
        "on_behalf_of": null,
        "payment_method": intent.payment_method,
        "payment_method_options": {},
        "payment_method_types": intent.payment_method_types,
        "processing": null,
        "receipt_email": intent.receipt_email,
        "review": null,
        "setup_future_usage": null,
        "shipping": null,
        "source": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": intent.status.into_str(),
        "transfer_data": null,
        "transfer_group": null,
    })
}

/// The metadata is the payment intent's.
pub fn charge(charge: &Charge, intent: &PaymentIntent) -> Value {
    let declined = charge.failure_code.as_ref().map(|_| "Your card was declined.");
    json!({
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": if charge.status == "succeeded" { charge.amount } else { 0 },
        "amount_refunded": charge.amount_refunded,
        "balance_transaction": null,
        "captured": charge.status == "succeeded",
        "created": charge.created_at.timestamp(),
        "currency": charge.currency,
        "customer": null,
        "description": intent.description,
        "disputed": false,
        "failure_code": charge.failure_code,
        "failure_message": declined,
        "livemode": false,
        "metadata": intent.metadata,
        "paid": charge.status == "succeeded",
        "payment_intent": charge.payment_intent,
        "payment_method": charge.payment_method,
        "receipt_email": intent.receipt_email,
        "refunded": charge.amount_refunded == charge.amount,
        "status": charge.status,
    })
}

pub fn refund(refund: &Refund) -> Value {
    json!({
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": null,
        "charge": refund.charge,
        "created": refund.created_at.timestamp(),
        "currency": refund.currency,
        "metadata": refund.metadata,
        "payment_intent": refund.payment_intent,
        "reason": refund.reason,
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": "succeeded",
        "transfer_reversal": null,
    })
}

pub fn list(url: &str, data: &[Value], has_more: bool) -> Value {
    json!({ "object": "list", "data": data, "has_more": has_more, "url": url })
}

pub fn event(id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": created,
        "data": { "object": object },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "type": kind,
    })
}

/// A forgery of `event`: the opposite outcome under another id.
pub fn forge(event: &Value, id: &str) -> Value {
    let mut forged = event.clone();
    forged["id"] = id.into();
    match forged["type"].as_str() {
        Some("payment_intent.succeeded") => {
            forged["type"] = "payment_intent.payment_failed".into();
            forged["data"]["object"]["status"] = "requires_payment_method".into();
            forged["data"]["object"]["amount_received"] = 0.into();
        }
        Some("payment_intent.payment_failed") => {
            forged["type"] = "payment_intent.succeeded".into();
            forged["data"]["object"]["status"] = "succeeded".into();
            forged["data"]["object"]["amount_received"] = event["data"]["object"]["amount"].clone();
        }
        Some("charge.refunded") => {
            forged["data"]["object"]["amount_refunded"] = 0.into();
            forged["data"]["object"]["refunded"] = false.into();
        }
        _ => forged["data"]["object"]["status"] = "failed".into(),
    }
    forged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgery_has_the_opposite_outcome() {
        let paid = json!({ "amount": 500, "amount_received": 500, "status": "succeeded" });
        let event = event("evt_1", "payment_intent.succeeded", 0, &paid);

        let forged = forge(&event, "evt_2");

        assert_eq!(forged["id"], "evt_2");
        assert_eq!(forged["type"], "payment_intent.payment_failed");
        assert_eq!(forge(&forged, "evt_3")["data"], event["data"]);
    }
}
