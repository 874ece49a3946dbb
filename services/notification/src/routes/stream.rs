//! Server-sent events: the asker's notifications as they come.

use std::{convert::Infallible, time::Duration};

use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{MediaType, Operation, Response as ApiResponse, StatusCode as ApiStatus},
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures::stream;
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    extract::{Path, Query},
    task,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{sync::mpsc, time::Instant};

use super::notifications::UserPath;
use crate::{
    AppState,
    error::require_own,
    feed::{BUFFER, Feed},
    language::language_of,
};

/// Where to go on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamQuery {
    /// Like the header `Last-Event-ID`, which wins: the `seq` of the last notification that the reader has.
    last_event_id: Option<i64>,
}

/// The asker's notifications as server-sent events.
///
/// Begins with an event `ready` (`{last_seq, unread_count}`); then one event `notification` each, whose id is its `seq`
/// and whose data is the notification; a comment every 15 s. With `Last-Event-ID` it goes on after that one, without it
/// begins with what comes from now on. Before it ends it says `end` (`{reason}`: `session_expired` or `closed`).
pub(super) async fn stream_notifications(
    State(state): State<AppState>,
    user: AuthUser,
    Path(UserPath { user_id }): Path<UserPath>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> ApiResult<EventStream> {
    require_own(&user, user_id)?;
    let resume_after = last_event_id(&headers)?.or(query.last_event_id);
    let deadline = Instant::now() + time_left(user.expires_at, &state)?;
    // Listening comes first: what is stored from here on wakes it, what was stored before is read.
    let subscription = state.hub.listen(user_id).ok_or_else(full)?;

    let counters = state.store.find_counters(user_id).await?;

    let (events, received) = mpsc::channel(BUFFER);
    // A place that is not reached yet was not ours to give.
    let last = resume_after.unwrap_or(counters.last_seq).clamp(0, counters.last_seq);
    let heartbeat = state.heartbeat;
    let language = language_of(&user, &headers);
    let feed = Feed {
        store: state.store,
        user_id,
        language,
        last,
        subscription,
        events,
        deadline,
        session_id: user.0.session_id,
        revocations: state.verifier.revocations().clone(),
        failing_since: None,
        heartbeat,
    };
    task::spawn(&state.lifecycle, "event_stream", feed.run(counters));
    Ok(EventStream(received))
}

fn last_event_id(headers: &HeaderMap) -> ApiResult<Option<i64>> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    value.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
        ApiError::bad_request("invalid_last_event_id", "Last-Event-ID: send the id of an event of this stream")
    })
}

/// How long the asker's session still lasts. A token in its last leeway is good for a request, not for a stream.
fn time_left(expires_at: i64, state: &AppState) -> ApiResult<Duration> {
    let left = expires_at.saturating_mul(1000).saturating_sub(state.clock.now().timestamp_millis());
    match u64::try_from(left) {
        Ok(left @ 1..) => Ok(Duration::from_millis(left)),
        _ => Err(ApiError::unauthorized("token_expired", "the session is over; refresh it or log in again")),
    }
}

fn full() -> ApiError {
    ApiError::too_many_requests("too_many_streams", "too many streams are open here; try again in a moment", 5)
}

/// An endless `text/event-stream`.
pub(super) struct EventStream(mpsc::Receiver<Event>);

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let events = stream::unfold(self.0, |mut received| async move {
            received.recv().await.map(|event| (Ok::<_, Infallible>(event), received))
        });
        let mut response = Sse::new(events).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        // nginx, and the ingress controllers made of it, buffer otherwise.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

impl OperationOutput for EventStream {
    type Inner = Self;

    fn operation_response(_ctx: &mut GenContext, _operation: &mut Operation) -> Option<ApiResponse> {
        let content = [("text/event-stream".to_owned(), MediaType::default())].into_iter().collect();
        Some(ApiResponse { description: "server-sent events".to_owned(), content, ..ApiResponse::default() })
    }

    fn inferred_responses(ctx: &mut GenContext, operation: &mut Operation) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        Self::operation_response(ctx, operation)
            .map(|response| (Some(ApiStatus::Code(200)), response))
            .into_iter()
            .collect()
    }
}
