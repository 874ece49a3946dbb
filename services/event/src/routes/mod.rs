//! The whole URL table.

mod events;
mod reservations;
mod time_zones;

use aide::axum::{
    ApiRouter,
    routing::{get_with, put_with},
};
use axum::{Json, Router};
use platform::server::limited;

pub use self::events::{EventResponse, NewEvent, UpdateEvent};
use self::time_zones::TimeZones;
use crate::state::AppState;

/// Every route of the service, with its description at `/api/events/openapi.json`.
pub fn router(state: AppState) -> Router {
    let people = ApiRouter::new()
        .api_route(
            "/api/events",
            get_with(events::list_events, |op| op.summary("List and search events"))
                .post_with(events::create_event, |op| op.summary("Create an event (organizers)")),
        )
        .api_route(
            "/api/events/time_zones",
            get_with(time_zones::list_time_zones, |op| {
                // Said here: aide does not look behind the header.
                op.summary("List the time zones that an event can be in").response::<200, Json<TimeZones>>()
            }),
        )
        .api_route(
            "/api/events/{event_id}",
            get_with(events::get_event, |op| op.summary("One event"))
                .patch_with(events::update_event, |op| op.summary("Change, publish or cancel an event (its organizer)"))
                .delete_with(events::delete_event, |op| op.summary("Delete an event, or cancel one with bookings")),
        );
    // As many as booking-service is busy with at once: these have not to queue behind people who look around.
    let services = ApiRouter::new()
        .api_route(
            "/api/events/reservations",
            get_with(reservations::list_reservations, |op| op.summary("Reservations of all events (booking-service)")),
        )
        .api_route(
            "/api/events/{event_id}/decrease_capacity",
            put_with(reservations::decrease_capacity, |op| op.summary("Hold seats (booking-service)")),
        )
        .api_route(
            "/api/events/{event_id}/reservations/{reservation_id}/confirm",
            put_with(reservations::confirm, |op| op.summary("Sell held seats (booking-service)")),
        )
        .api_route(
            "/api/events/{event_id}/reservations/{reservation_id}/release",
            put_with(reservations::release, |op| op.summary("Give seats back (booking-service)")),
        );
    let table = limited(people).merge(services);
    platform::openapi::finish(table, "event-service", "/api/events/openapi.json").with_state(state)
}
