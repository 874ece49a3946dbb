//! Listing notifications and marking them as read.

use axum::{Json, extract::State, http::HeaderMap};
use chrono::{DateTime, Utc};
use contracts::identity::Language;
use platform::{
    ApiResult,
    auth::AuthUser,
    extract::{JsonBody, Path, Query},
    page::{Page, decode_cursor, parse_limit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    AppState,
    domain::{Notification, NotificationType},
    error::{no_such_notifications, require_own, undropped},
    language::language_of,
    texts::Text,
};

/// Whose notifications.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UserPath {
    /// The user's id; only the asker's own.
    pub(super) user_id: i32,
}

/// Which notification.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct NotificationPath {
    /// The user's id; only the asker's own.
    user_id: i32,
    /// The notification's id.
    id: Uuid,
}

/// Which part of the list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Items a page, 1 to 100; 20 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `true`: only those that are not read yet.
    unread: Option<bool>,
}

/// What to mark as read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadAll {
    /// The `seq` of the newest notification that the person has seen; all there are if absent.
    up_to: Option<i64>,
}

/// A notification.
#[derive(Debug, JsonSchema, Serialize)]
pub struct NotificationResponse {
    /// Unique among all notifications.
    id: Uuid,
    /// Its place among the user's: 1, 2, 3…
    seq: i64,
    /// What it is about.
    #[serde(rename = "type")]
    kind: NotificationType,
    /// The booking it is about.
    booking_id: i32,
    /// The event it is about.
    event_id: String,
    /// A one-line title in the account's language; without one, in the language that `Accept-Language` prefers.
    title: String,
    /// One to three sentences in the same language.
    body: String,
    /// When it was read; null while it was not.
    read_at: Option<DateTime<Utc>>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

impl NotificationResponse {
    /// The notification in `language`.
    pub(crate) fn new(notification: Notification, language: Language) -> Self {
        let Text { title, body } = notification.texts.read_in(language);
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

/// A page of notifications, newest first.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct NotificationList {
    /// Newest first.
    items: Vec<NotificationResponse>,
    /// For the next page; null on the last one.
    next_cursor: Option<String>,
    /// How many of all the user's notifications are unread.
    unread_count: i64,
}

/// How many are unread.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct UnreadCount {
    /// How many of the user's notifications are unread now.
    unread_count: i64,
}

/// The asker's notifications, newest first.
pub(super) async fn list_notifications(
    State(state): State<AppState>,
    user: AuthUser,
    Path(UserPath { user_id }): Path<UserPath>,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> ApiResult<Json<NotificationList>> {
    require_own(&user, user_id)?;
    let language = language_of(&user, &headers);
    let limit = parse_limit(query.limit)?;
    let before = decode_cursor::<i64>(query.cursor.as_deref())?;
    let unread_only = query.unread.unwrap_or(false);

    let (rows, counters) = undropped(async move {
        tokio::try_join!(
            state.store.list_notifications(user_id, before, unread_only, limit + 1),
            state.store.find_counters(user_id)
        )
    })
    .await?;

    let page =
        Page::of(rows, limit, |last| last.seq).map(|notification| NotificationResponse::new(notification, language));
    Ok(Json(NotificationList { items: page.items, next_cursor: page.next_cursor, unread_count: counters.unread }))
}

/// Marks one as read, once: `read_at` stays what it was the first time.
pub(super) async fn mark_read(
    State(state): State<AppState>,
    user: AuthUser,
    Path(NotificationPath { user_id, id }): Path<NotificationPath>,
    headers: HeaderMap,
) -> ApiResult<Json<NotificationResponse>> {
    require_own(&user, user_id)?;
    let now = state.clock.now();

    let read = undropped(async move { state.store.mark_read(user_id, id, now).await }).await?;

    let read = read.ok_or_else(no_such_notifications)?;
    Ok(Json(NotificationResponse::new(read, language_of(&user, &headers))))
}

/// Marks all, or all up to one, as read.
pub(super) async fn mark_all_read(
    State(state): State<AppState>,
    user: AuthUser,
    Path(UserPath { user_id }): Path<UserPath>,
    body: JsonBody<ReadAll>,
) -> ApiResult<Json<UnreadCount>> {
    require_own(&user, user_id)?;
    let up_to = body.parse_or_default()?.up_to;
    let now = state.clock.now();

    let unread_count = undropped(async move { state.store.mark_all_read(user_id, up_to, now).await }).await?;

    Ok(Json(UnreadCount { unread_count }))
}
