//! Listing notifications and marking them as read.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
};
use chrono::{DateTime, Utc};
use contracts::identity::Language;
use platform::{
    ApiResult,
    auth::{AuthUser, Identity},
    extract::{JsonBody, Path, Query},
    page::{Page, decode_cursor, parse_limit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{Notification, NotificationType, Refusal, Text, preferred_language},
    state::AppState,
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UserPath {
    /// Your own user id.
    pub(super) user_id: i32,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct NotificationPath {
    /// Your own user id.
    user_id: i32,
    id: Uuid,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Items per page, 1 to 100; 20 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// `true` lists unread notifications only.
    unread: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadAll {
    /// The `seq` of the newest notification to mark; all if absent.
    up_to: Option<i64>,
}

/// A notification.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct NotificationResponse {
    id: Uuid,
    /// The sequence number among the user's notifications: 1, 2, 3…
    seq: i64,
    #[serde(rename = "type")]
    kind: NotificationType,
    booking_id: i32,
    event_id: String,
    /// A one-line title, in the account's language or else in the one that `Accept-Language` prefers.
    title: String,
    /// One to three sentences in the same language.
    body: String,
    /// When it was marked as read; null if it is unread.
    read_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl NotificationResponse {
    pub(super) fn new(notification: Notification, language: Language) -> Self {
        let Text { title, body } = notification.texts.in_language(language);
        Self {
            id: notification.id,
            seq: notification.seq,
            kind: notification.kind,
            booking_id: notification.booking_id,
            event_id: notification.event_id,
            title,
            body,
            read_at: notification.read_at,
            created_at: notification.created_at,
        }
    }
}

/// A page of notifications.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct NotificationList {
    /// Newest first.
    items: Vec<NotificationResponse>,
    /// For the next page; null on the last one.
    next_cursor: Option<String>,
    /// The number of unread notifications on all pages.
    unread_count: i64,
}

/// The number of unread notifications.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct UnreadCount {
    unread_count: i64,
}

/// Refuses notifications of other users, also to admins. The answer is the same as for notifications that do not exist.
pub(super) fn require_own(user: &Identity, user_id: i32) -> Result<(), Refusal> {
    if user.user_id == user_id { Ok(()) } else { Err(Refusal::NotFound) }
}

/// The account's language, or else the one that the browser prefers, or else English.
pub(super) fn reader_language(user: &Identity, headers: &HeaderMap) -> Language {
    let preferred = || preferred_language(headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?);
    user.language.or_else(preferred).unwrap_or(Language::En)
}

pub(super) async fn list_notifications(
    State(state): State<AppState>,
    user: AuthUser,
    Path(UserPath { user_id }): Path<UserPath>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> ApiResult<Json<NotificationList>> {
    require_own(&user, user_id)?;
    let language = reader_language(&user, &headers);
    let limit = parse_limit(query.limit)?;
    let before = decode_cursor::<i64>(query.cursor.as_deref())?;
    let unread_only = query.unread.unwrap_or(false);

    let (notifications, counters) = tokio::try_join!(
        state.store.list_notifications(user_id, before, unread_only, limit + 1),
        state.store.find_counters(user_id)
    )?;

    let page = Page::of(notifications, limit, |last| last.seq)
        .map(|notification| NotificationResponse::new(notification, language));
    Ok(Json(NotificationList { items: page.items, next_cursor: page.next_cursor, unread_count: counters.unread }))
}

pub(super) async fn mark_read(
    State(state): State<AppState>,
    user: AuthUser,
    Path(NotificationPath { user_id, id }): Path<NotificationPath>,
    headers: HeaderMap,
) -> ApiResult<Json<NotificationResponse>> {
    require_own(&user, user_id)?;

    let notification = state.store.mark_read(user_id, id, state.clock.now()).await?.ok_or(Refusal::NotFound)?;

    Ok(Json(NotificationResponse::new(notification, reader_language(&user, &headers))))
}

pub(super) async fn mark_all_read(
    State(state): State<AppState>,
    user: AuthUser,
    Path(UserPath { user_id }): Path<UserPath>,
    body: JsonBody<ReadAll>,
) -> ApiResult<Json<UnreadCount>> {
    require_own(&user, user_id)?;
    let up_to = body.parse_or_default()?.up_to;

    let unread_count = state.store.mark_all_read(user_id, up_to, state.clock.now()).await?;

    Ok(Json(UnreadCount { unread_count }))
}
