//! Listing, reading, creating, changing and deleting events.

mod body;

use aide::UseApi;
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use contracts::identity::Role;
use platform::{
    ApiError, ApiResult,
    auth::{AuthUser, Identity, OptionalUser},
    extract::{Created, JsonBody, Path, Query},
    idempotency::{self, IdempotencyKey, Replayable},
    page::{Page, decode_cursor, invalid_cursor, parse_limit},
    task::run_to_completion,
};
use schemars::JsonSchema;
use serde::Deserialize;

pub use self::body::{EventResponse, NewEvent, RENDER};
use crate::{
    cache::ListKey,
    domain::{
        Event, EventPatch, EventStatus, Refusal, is_supported_instant,
        price::{require_chargeable, require_chargeable_change},
        search::{EventFilter, Position, query_words},
    },
    state::AppState,
};

/// In characters.
const MAX_QUERY_LENGTH: usize = 200;

/// Which event.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct EventPath {
    /// The event's id.
    pub(super) event_id: String,
}

/// Which events, and which part of their list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Words of title, venue, category or description, or their beginnings, ignoring case, accents and variants of
    /// letters. A query without any word finds nothing.
    q: Option<String>,
    /// Events that end after this instant, including those under way; past events too.
    from: Option<DateTime<Utc>>,
    /// Events that start before this instant.
    to: Option<DateTime<Utc>>,
    /// Events of this category, ignoring case.
    category: Option<String>,
    /// `true`: only events with seats available.
    has_seats: Option<bool>,
    /// Events of that organizer; to that organizer and to admins with drafts, cancelled and past ones.
    organizer_id: Option<i32>,
    /// Items a page, 1 to 100; 20 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// JSON from the cache, documented as `T`.
type CachedJson<T> = UseApi<([(HeaderName, &'static str); 2], Bytes), Json<T>>;

pub(super) async fn list_events(
    State(state): State<AppState>,
    OptionalUser(user): OptionalUser,
    Query(query): Query<ListQuery>,
) -> ApiResult<CachedJson<Page<EventResponse>>> {
    let key = list_key(query, user.as_ref())?;

    Ok(cached_json(state.cache.list_events(key).await?))
}

/// Drafts are visible only to their organizer and admins.
pub(super) async fn get_event(
    State(state): State<AppState>,
    OptionalUser(user): OptionalUser,
    Path(EventPath { event_id }): Path<EventPath>,
) -> ApiResult<CachedJson<EventResponse>> {
    let cached = state.cache.find_event(&event_id).await?.ok_or(Refusal::EventNotFound)?;

    require_visible(&cached.event, user.as_ref())?;
    Ok(cached_json(cached.json.clone()))
}

pub(super) async fn create_event(
    State(state): State<AppState>,
    user: AuthUser,
    key: IdempotencyKey,
    body: JsonBody<NewEvent>,
) -> ApiResult<Replayable<Created<EventResponse>>> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    require_account(&state, user.user_id).await?;
    let body = body.parse()?;
    let organizer_id = user.user_id;

    // All of it runs in a task of its own, because claiming the key uses the database as well.
    let store = state.idempotency.clone();
    run_to_completion(async move {
        let new = body.clone();
        idempotency::run(&store, key, organizer_id, &body, move |operation_id| async move {
            let event = new.into_event(operation_id.to_string(), organizer_id, state.clock.now())?;
            require_chargeable(&event.details, state.payment_provider)?;
            let event = state.store.insert_event(event).await?;
            state.cache.invalidate_lists();
            Ok(Created(EventResponse::from(&event)))
        })
        .await
    })
    .await
}

pub(super) async fn update_event(
    State(state): State<AppState>,
    user: AuthUser,
    Path(EventPath { event_id }): Path<EventPath>,
    body: JsonBody<EventPatch>,
) -> ApiResult<Json<EventResponse>> {
    let event = require_manager(&state, &user, &event_id).await?;
    require_account(&state, event.organizer_id).await?;
    let patch = body.parse()?;
    require_chargeable_change(&event, &patch, state.payment_provider)?;

    let event = state.queue.edit(&event_id, patch).await?;

    Ok(Json(EventResponse::from(&event)))
}

/// An event with seats held or ever sold is cancelled instead.
pub(super) async fn delete_event(
    State(state): State<AppState>,
    user: AuthUser,
    Path(EventPath { event_id }): Path<EventPath>,
) -> ApiResult<UseApi<Response, Json<EventResponse>>> {
    require_manager(&state, &user, &event_id).await?;

    let cancelled = state.queue.delete(&event_id).await?;

    let response = match cancelled {
        Some(event) => Json(EventResponse::from(&event)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    };
    Ok(response.into())
}

fn list_key(query: ListQuery, user: Option<&Identity>) -> ApiResult<ListKey> {
    let q = query.q.unwrap_or_default();
    if q.chars().count() > MAX_QUERY_LENGTH {
        return Err(ApiError::bad_request("invalid_query", format!("q: at most {MAX_QUERY_LENGTH} characters")));
    }
    for (name, at) in [("from", query.from), ("to", query.to)] {
        if at.is_some_and(|at| !is_supported_instant(at)) {
            return Err(ApiError::bad_request("invalid_query", format!("{name}: must be from 1970 to 2999")));
        }
    }
    let own = |id: i32| user.is_some_and(|user| user.role == Role::Admin || user.user_id == id);
    let filter = EventFilter {
        words: query_words(&q),
        from: query.from,
        to: query.to,
        category: query.category.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
        has_seats: query.has_seats.unwrap_or(false),
        organizer_id: query.organizer_id,
        include_hidden: query.organizer_id.is_some_and(own),
    };
    let after = decode_cursor::<(i64, String)>(query.cursor.as_deref())?;
    let after = after.map(|(start, id)| position(start, id)).transpose()?;
    Ok(ListKey { filter, after, limit: parse_limit(query.limit)? })
}

fn position(start_ms: i64, id: String) -> ApiResult<Position> {
    match DateTime::from_timestamp_millis(start_ms).filter(|at| is_supported_instant(*at)) {
        Some(starts_at) => Ok(Position { starts_at, id }),
        None => Err(invalid_cursor()),
    }
}

fn may_manage(event: &Event, user: &Identity) -> bool {
    user.role == Role::Admin || user.user_id == event.organizer_id
}

/// 404 `event_not_found` for the drafts of others.
fn require_visible(event: &Event, user: Option<&Identity>) -> ApiResult<()> {
    let visible = event.status != EventStatus::Draft || user.is_some_and(|user| may_manage(event, user));
    if visible { Ok(()) } else { Err(Refusal::EventNotFound.into()) }
}

/// 403 `role_required` for attendees, 404 for the drafts of others, 403 `not_your_event` for their other events.
async fn require_manager(state: &AppState, user: &AuthUser, event_id: &str) -> ApiResult<Event> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    let event = state.store.find_event(event_id).await?.ok_or(Refusal::EventNotFound)?;
    require_visible(&event, Some(user))?;
    if may_manage(&event, user) {
        return Ok(event);
    }
    Err(ApiError::forbidden("not_your_event", "only its organizer and admins may change this event"))
}

/// 403 `organizer_deleted` for the events of a deleted account, which a token of its last seconds could still change.
async fn require_account(state: &AppState, organizer_id: i32) -> ApiResult<()> {
    let deleted = state.store.is_account_deleted(organizer_id).await?;
    if deleted { Err(Refusal::OrganizerDeleted.into()) } else { Ok(()) }
}

fn cached_json<T>(json: Bytes) -> CachedJson<T> {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], json).into()
}
