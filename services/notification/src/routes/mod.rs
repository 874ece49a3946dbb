//! The whole URL table.

pub mod notifications;
mod stream;

use aide::axum::{
    ApiRouter,
    routing::{get, post},
};
use axum::Router;
use platform::server::limited;

use crate::AppState;

/// Every route of the service, with its description at `/notifications/openapi.json`.
pub fn router(state: AppState) -> Router {
    let table = ApiRouter::new()
        .api_route("/notifications/{user_id}", get(notifications::list_notifications))
        .api_route("/notifications/{user_id}/{id}/read", post(notifications::mark_read))
        .api_route("/notifications/{user_id}/read-all", post(notifications::mark_all_read))
        .api_route("/notifications/{user_id}/stream", get(stream::stream_notifications));
    platform::openapi::finish(limited(table), "notification-service", "/notifications/openapi.json").with_state(state)
}
