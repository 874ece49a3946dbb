//! Events, fetched from event-service at request time and passed on unchanged: new fields need nothing here.

use aide::OperationIo;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use platform::{ApiResult, extract::Query, page::Page};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{clients::event_service::EventsReply, state::AppState};

/// The parameters of `GET /api/events`; event-service validates them.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Words or their beginnings, in title, venue, category and description.
    #[serde(skip_serializing_if = "Option::is_none")]
    q: Option<String>,
    /// Events that end after this instant, including those in progress; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Events that start before this instant, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// Only this category, ignoring case.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    /// `true`: only events with seats left.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_seats: Option<String>,
    /// Only this organizer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    organizer_id: Option<String>,
    /// Items a page, 1 to 100; 20 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// The reply of event-service.
#[derive(OperationIo)]
#[aide(output_with = "Json<Page<Map<String, Value>>>")]
pub(super) struct EventList(EventsReply);

pub(super) async fn list_events(
    State(state): State<AppState>,
    Query(query): Query<EventsQuery>,
) -> ApiResult<EventList> {
    state.events.list_events(&query).await.map(EventList)
}

impl IntoResponse for EventList {
    fn into_response(self) -> Response {
        (self.0.status, self.0.headers, self.0.body).into_response()
    }
}
