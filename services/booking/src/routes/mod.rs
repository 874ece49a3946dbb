//! The whole URL table.

mod bookings;
mod organizer;
mod payments;
mod webhooks;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{Json, Router};
use platform::server::{limited, limited_to_constant};

use self::payments::PaymentResponse;
use crate::state::AppState;

/// Every path that this service answers.
pub fn router(state: AppState) -> Router {
    let bookings = ApiRouter::new()
        .api_route(
            "/bookings",
            post_with(bookings::create_booking, |op| op.summary("Book seats of an event"))
                .get_with(bookings::list_bookings, |op| op.summary("List your bookings, newest first")),
        )
        .api_route("/bookings/{id}", get_with(bookings::get_booking, |op| op.summary("Get one of your bookings")))
        .api_route(
            "/bookings/sales",
            get_with(organizer::list_sales, |op| op.summary("List the sales of your events (organizers)")),
        )
        .api_route(
            "/bookings/events/{event_id}/sales",
            get_with(organizer::get_sales, |op| op.summary("Get the sales of an event by day (its organizer)")),
        )
        .api_route(
            "/bookings/events/{event_id}/attendees",
            get_with(organizer::list_attendees, |op| op.summary("List attendees (the event's organizer)")),
        )
        .api_route(
            "/bookings/events/{event_id}/attendees.csv",
            get_with(organizer::export_attendees, |op| {
                op.summary("Export attendees as CSV (the event's organizer)")
                    .response_with::<200, (), _>(organizer::csv)
            }),
        )
        .api_route("/payments/{id}", get_with(payments::get_payment, |op| op.summary("Get one of your payments")));
    // Requests that call the payment provider have their own admission group: while it is slow, the others continue. Its
    // limit is constant, so that payments keep their share when bookings and reads are limited.
    let payments = ApiRouter::new()
        .api_route(
            "/bookings/{id}/cancel",
            post_with(bookings::cancel_booking, |op| op.summary("Cancel one of your bookings")),
        )
        .api_route(
            "/payments",
            post_with(payments::create_payment, |op| {
                op.summary("Pay a booking")
                    .response::<201, Json<PaymentResponse>>()
                    .response::<202, Json<PaymentResponse>>()
            }),
        )
        .api_route(
            "/payments/config",
            get_with(payments::get_config, |op| op.summary("Get the settings of the payment form")),
        );
    // Webhooks have their own group too, because anybody can send them: they and payments must not delay each other.
    let webhooks = ApiRouter::new().api_route(
        "/payments/webhooks/{provider}",
        post_with(webhooks::receive_webhook, |op| {
            op.summary("Receive a payment webhook")
                .response_with::<200, (), _>(|response| response.description("The event was accepted."))
        }),
    );
    let table = limited(bookings).merge(limited_to_constant(payments)).merge(limited(webhooks));
    platform::openapi::finish(table, "booking-service", "/bookings/openapi.json").with_state(state)
}
