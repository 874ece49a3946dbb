//! The whole URL table.

mod notifications;
mod stream;

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::Router;
use platform::server::limited;

use crate::state::AppState;

/// Every route of the service, with its description at `/notifications/openapi.json`.
pub fn router(state: AppState) -> Router {
    let table = ApiRouter::new()
        .api_route(
            "/notifications/{user_id}",
            get_with(notifications::list_notifications, |op| op.summary("List your notifications, newest first")),
        )
        .api_route(
            "/notifications/{user_id}/{id}/read",
            post_with(notifications::mark_read, |op| op.summary("Mark a notification as read")),
        )
        .api_route(
            "/notifications/{user_id}/read-all",
            post_with(notifications::mark_all_read, |op| {
                op.summary("Mark all notifications, or those up to one, as read")
            }),
        )
        .api_route(
            "/notifications/{user_id}/stream",
            get_with(stream::stream_notifications, |op| {
                op.summary("Stream your notifications as server-sent events")
                    .description(stream::PROTOCOL)
                    .response_with::<200, (), _>(stream::event_stream)
            }),
        );
    platform::openapi::finish(limited(table), "notification-service", "/notifications/openapi.json").with_state(state)
}
