//! The whole URL table.

mod events;
mod reservations;
mod time_zones;

use aide::axum::{
    ApiRouter,
    routing::{get_with, put_with},
};
use axum::Router;
use platform::server::limited;

pub use self::events::{EventResponse, NewEvent, RENDER};
use crate::state::AppState;

/// Every route of the service, with its description at `/api/events/openapi.json`.
pub fn router(state: AppState) -> Router {
    let public = ApiRouter::new()
        .api_route(
            "/api/events",
            get_with(events::list_events, |op| op.summary("List and search events"))
                .post_with(events::create_event, |op| op.summary("Create an event (organizers)")),
        )
        .api_route(
            "/api/events/time_zones",
            get_with(time_zones::list_time_zones, |op| op.summary("List the time zones of events")),
        )
        .api_route(
            "/api/events/{event_id}",
            get_with(events::get_event, |op| op.summary("Get an event"))
                .patch_with(events::update_event, |op| op.summary("Change, publish or cancel an event (its organizer)"))
                .delete_with(events::delete_event, |op| {
                    op.summary("Delete an event, or cancel one with bookings")
                        .response_with::<204, (), _>(|response| response.description("The event is gone."))
                }),
        );
    // booking-service limits its calls itself; they must not queue behind requests of users.
    let services = ApiRouter::new()
        .api_route(
            "/api/events/reservations",
            get_with(reservations::list_reservations, |op| {
                op.summary("List the reservations of all events (booking-service)")
            }),
        )
        .api_route(
            "/api/events/{event_id}/decrease_capacity",
            put_with(reservations::decrease_capacity, |op| op.summary("Hold seats (booking-service)")),
        )
        .api_route(
            "/api/events/{event_id}/reservations/{reservation_id}/confirm",
            put_with(reservations::confirm_reservation, |op| op.summary("Confirm a reservation (booking-service)")),
        )
        .api_route(
            "/api/events/{event_id}/reservations/{reservation_id}/release",
            put_with(reservations::release_reservation, |op| op.summary("Release a reservation (booking-service)")),
        );
    let table = limited(public).merge(services);
    platform::openapi::finish(table, "event-service", "/api/events/openapi.json").with_state(state)
}
