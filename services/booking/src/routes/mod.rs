//! The whole URL table.

mod bookings;
mod check_ins;
mod door_links;
mod door_staff;
mod organizer;
mod payments;
mod tickets;
mod webhooks;

use aide::axum::{
    ApiRouter,
    routing::{delete_with, get_with, post_with},
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
    // The door has its own group: what goes on sale meanwhile must not delay it.
    let tickets = ApiRouter::new()
        .api_route(
            "/tickets",
            get_with(tickets::list_event_tickets, |op| {
                op.summary("List the tickets of an event for scanners (its organizer or a door link)")
            }),
        )
        .api_route(
            "/tickets/{ticket}",
            get_with(tickets::get_ticket, |op| {
                op.summary("Get a ticket by its code or id (its owner or the organizer)")
            })
            .patch_with(tickets::update_ticket, |op| op.summary("Change the holder of one of your tickets")),
        )
        .api_route(
            "/tickets/check-ins",
            post_with(check_ins::create_check_in, |op| {
                op.summary("Check a ticket in (the event's organizer or a door link)")
            })
            .get_with(check_ins::get_attendance, |op| op.summary("Count who has come (the event's organizer)")),
        )
        .api_route(
            "/tickets/check-ins/{ticket_id}",
            delete_with(check_ins::undo_check_in, |op| op.summary("Undo a check-in (the event's organizer)")),
        )
        .api_route(
            "/tickets/door-links",
            post_with(door_links::create_door_link, |op| {
                op.summary("Make a link for people who check tickets in (the event's organizer)")
            })
            .get_with(door_links::list_door_links, |op| op.summary("List door links (the event's organizer)")),
        )
        .api_route(
            "/tickets/door-links/{id}",
            delete_with(door_links::revoke_door_link, |op| op.summary("Revoke a door link (the event's organizer)")),
        );
    // Anybody may ask for the keys, which are in memory: they keep nobody from the door.
    let keys = ApiRouter::new()
        .api_route("/tickets/keys", get_with(tickets::list_keys, |op| op.summary("List the keys that verify tickets")));
    let table = limited(bookings)
        .merge(limited(tickets))
        .merge(keys)
        .merge(limited_to_constant(payments))
        .merge(limited(webhooks));
    platform::openapi::finish(table, "booking-service", "/bookings/openapi.json").with_state(state)
}
