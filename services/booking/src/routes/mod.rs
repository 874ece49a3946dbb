//! The whole URL table.

mod bookings;
mod payments;
mod webhooks;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::Router;

use crate::state::AppState;

/// Every path that this service answers.
pub fn router(state: AppState) -> Router {
    let table = ApiRouter::new()
        .api_route(
            "/bookings",
            post_with(bookings::create_booking, |op| op.summary("Book seats of an event"))
                .get_with(bookings::list_bookings, |op| op.summary("Your bookings, newest first")),
        )
        .api_route("/bookings/{id}", get_with(bookings::get_booking, |op| op.summary("One of your bookings")))
        .api_route(
            "/bookings/{id}/cancel",
            post_with(bookings::cancel_booking, |op| op.summary("Cancel one of your bookings")),
        )
        .api_route("/payments", post_with(payments::create_payment, |op| op.summary("Pay a booking")))
        .api_route("/payments/{id}", get_with(payments::get_payment, |op| op.summary("One of your payments")))
        .api_route(
            "/payments/webhooks/{provider}",
            post_with(webhooks::receive_webhook, |op| op.summary("What the payment company has to say")),
        );
    platform::openapi::finish(table, "booking-service", "/bookings/openapi.json").with_state(state)
}
