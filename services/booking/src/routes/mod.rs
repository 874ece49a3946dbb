//! The whole URL table.

mod bookings;
mod organizer;
mod payments;
mod webhooks;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::Router;
use platform::server::limited;

use crate::state::AppState;

/// Every path that this service answers.
pub fn router(state: AppState) -> Router {
    let bookings = ApiRouter::new()
        .api_route(
            "/bookings",
            post_with(bookings::create_booking, |op| op.summary("Book seats of an event"))
                .get_with(bookings::list_bookings, |op| op.summary("Your bookings, newest first")),
        )
        .api_route("/bookings/{id}", get_with(bookings::get_booking, |op| op.summary("One of your bookings")))
        .api_route(
            "/bookings/sales",
            get_with(organizer::list_sales, |op| op.summary("What each of your events has brought in (organizers)")),
        )
        .api_route(
            "/bookings/events/{event_id}/sales",
            get_with(organizer::get_sales, |op| op.summary("An event's sales by day (its organizer)")),
        )
        .api_route(
            "/bookings/events/{event_id}/attendees",
            get_with(organizer::list_attendees, |op| op.summary("Who comes to an event (its organizer)")),
        )
        .api_route(
            "/bookings/events/{event_id}/attendees.csv",
            get_with(organizer::export_attendees, |op| op.summary("The same as a sheet (its organizer)")),
        )
        .api_route("/payments/{id}", get_with(payments::get_payment, |op| op.summary("One of your payments")));
    // Routes that wait for the payment company have an admission group of their own: while it is slow, the others go on.
    let payments = ApiRouter::new()
        .api_route(
            "/bookings/{id}/cancel",
            post_with(bookings::cancel_booking, |op| op.summary("Cancel one of your bookings")),
        )
        .api_route("/payments", post_with(payments::create_payment, |op| op.summary("Pay a booking")))
        .api_route(
            "/payments/config",
            get_with(payments::get_config, |op| op.summary("What a page needs for its payment form")),
        );
    // Webhooks have one too: anybody may send them, so payments and webhooks must not wait for each other.
    let webhooks = ApiRouter::new().api_route(
        "/payments/webhooks/{provider}",
        post_with(webhooks::receive_webhook, |op| op.summary("Receive a webhook of the payment provider")),
    );
    let table = limited(bookings).merge(limited(payments)).merge(limited(webhooks));
    platform::openapi::finish(table, "booking-service", "/bookings/openapi.json").with_state(state)
}
