//! Streaming notifications as server-sent events.

use std::{convert::Infallible, time::Duration};

use aide::{NoApi, openapi::MediaType, transform::TransformResponse};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{
        IntoResponse,
        sse::{Event, Sse},
    },
};
use contracts::identity::Language;
use futures::stream;
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    extract::{Path, Query},
    task,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use super::notifications::{NotificationResponse, UserPath, reader_language, require_own};
use crate::{
    domain::Refusal,
    state::AppState,
    streams::{BUFFER_SIZE, Connection, Feed, StreamEvent},
};

/// How long a browser waits before it reconnects.
const RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// What a stream consists of.
pub(super) const PROTOCOL: &str = "The first event is `ready` with `{last_seq, unread_count}`. Each notification is an \
     event `notification`, whose id is its `seq`. A comment is sent every 15 s. A stream with `Last-Event-ID` continues \
     after that notification; without it, only new notifications are sent. The last event, unless the connection \
     breaks, is `end` with `{reason}`: `session_expired` or `closed`.";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamQuery {
    /// The `seq` of the last notification that the client has. The header `Last-Event-ID` takes precedence.
    last_event_id: Option<i64>,
}

pub(super) async fn stream_notifications(
    State(state): State<AppState>,
    user: AuthUser,
    Path(UserPath { user_id }): Path<UserPath>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> ApiResult<NoApi<impl IntoResponse>> {
    require_own(&user, user_id)?;
    let resume_after = last_event_id(&headers)?.or(query.last_event_id);
    let deadline = Instant::now() + time_left(user.expires_at, &state)?;
    let language = reader_language(&user, &headers);
    // Subscribing comes before reading, so that no notification is missed in between.
    let subscription = state.hub.subscribe(user_id)?;

    let counters = state.store.find_counters(user_id).await?;

    let (events, received) = mpsc::channel(BUFFER_SIZE);
    let feed = Feed {
        store: state.store,
        user_id,
        // This service never sent a sequence number that is not reached yet.
        last_seq: resume_after.unwrap_or(counters.last_seq).clamp(0, counters.last_seq),
        connection: Connection {
            events,
            deadline,
            session_id: user.0.session_id,
            revocations: state.verifier.revocations().clone(),
            closed: subscription.closed(),
        },
        subscription,
        heartbeat_interval: state.heartbeat_interval,
    };
    task::spawn(&state.lifecycle, "event_stream", feed.run(counters));
    Ok(NoApi(response(received, language)))
}

fn last_event_id(headers: &HeaderMap) -> ApiResult<Option<i64>> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    value.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
        ApiError::bad_request("invalid_last_event_id", "Last-Event-ID: send the id of an event of this stream")
    })
}

/// The time until the access token expires, without the leeway that other requests get.
fn time_left(expires_at: i64, state: &AppState) -> Result<Duration, Refusal> {
    let left = expires_at.saturating_mul(1000).saturating_sub(state.clock.now().timestamp_millis());
    match u64::try_from(left) {
        Ok(left @ 1..) => Ok(Duration::from_millis(left)),
        _ => Err(Refusal::SessionExpired),
    }
}

fn response(events: mpsc::Receiver<StreamEvent>, language: Language) -> impl IntoResponse {
    let events = stream::unfold(events, move |mut events| async move {
        let event = events.recv().await?;
        Some((Ok::<_, Infallible>(server_sent(event, language)), events))
    });
    let headers = [
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        // Otherwise nginx, and ingress controllers based on it, buffer the response.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Sse::new(events))
}

/// Documents the response of [`stream_notifications`].
pub(super) fn event_stream(mut response: TransformResponse<'_, ()>) -> TransformResponse<'_, ()> {
    response.inner().content.insert("text/event-stream".to_owned(), MediaType::default());
    response.description("Server-sent events.")
}

fn server_sent(event: StreamEvent, language: Language) -> Event {
    match event {
        StreamEvent::Ready { after, counters } => {
            let data = json!({ "last_seq": counters.last_seq, "unread_count": counters.unread });
            named("ready", &data).id(after.to_string()).retry(RECONNECT_DELAY)
        }
        StreamEvent::Notification(notification) => {
            let seq = notification.seq;
            named("notification", &NotificationResponse::new(*notification, language)).id(seq.to_string())
        }
        StreamEvent::Heartbeat => Event::default().comment("still here"),
        StreamEvent::End(reason) => named("end", &json!({ "reason": reason })),
    }
}

fn named(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).json_data(data).expect("plain data can be serialized")
}
