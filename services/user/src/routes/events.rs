//! Available events, from event-service at request time.

use aide::{OperationOutput, generate::GenContext, openapi};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use platform::{ApiResult, extract::Query, page::Page};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{events::EventAnswer, state::AppState};

/// The parameters of `GET /api/events`, which event-service checks.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Words or their beginnings, in title, venue and category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// Events that end after this instant, including those under way; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Events that start before this instant, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only this category, ignoring case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// `true`: only events with seats left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_seats: Option<String>,
    /// Only this organizer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizer_id: Option<String>,
    /// Items a page, 1 to 100; 20 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Events as event-service describes them.
pub(super) struct EventList(EventAnswer);

pub(super) async fn list_events(
    State(state): State<AppState>,
    Query(query): Query<EventsQuery>,
) -> ApiResult<EventList> {
    state.events.list(&query).await.map(EventList)
}

impl IntoResponse for EventList {
    fn into_response(self) -> Response {
        (self.0.status, self.0.headers, self.0.body).into_response()
    }
}

impl OperationOutput for EventList {
    type Inner = Page<serde_json::Map<String, serde_json::Value>>;

    fn operation_response(ctx: &mut GenContext, operation: &mut openapi::Operation) -> Option<openapi::Response> {
        Json::<Self::Inner>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut openapi::Operation,
    ) -> Vec<(Option<openapi::StatusCode>, openapi::Response)> {
        Json::<Self::Inner>::inferred_responses(ctx, operation)
    }
}
