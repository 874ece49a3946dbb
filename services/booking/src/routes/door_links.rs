//! Links with which people without an account check in the tickets of one event, made by its organizer.

use axum::{Json, extract::State, response::NoContent};
use chrono::{DateTime, Utc};
use contracts::identity::Role;
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    error::FieldError,
    extract::{Created, JsonBody, Path, Query},
    page::{Page, decode_cursor, parse_limit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::organizer::require_organizer;
use crate::{
    crypto::door_token,
    domain::{DoorLink, NewDoorLink, door_link::check_expiry, ticket::parse_label},
    error::{door_link_not_found, not_your_event},
    state::AppState,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateDoorLink {
    event_id: String,
    /// What you call it, such as the name of the entrance: one line of 1 to 60 characters.
    label: String,
    /// At most 90 days from now.
    expires_at: DateTime<Utc>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DoorLinksQuery {
    event_id: String,
    /// Items per page, 1 to 100; 20 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct DoorLinkPath {
    id: i32,
}

#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct DoorLinkResponse {
    id: i32,
    event_id: String,
    label: String,
    expires_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

/// A new link, with its token.
#[derive(JsonSchema, Serialize)]
pub(super) struct NewDoorLinkResponse {
    #[serde(flatten)]
    link: DoorLinkResponse,
    /// Sent as `Authorization: Bearer`. Shown this once.
    token: String,
}

impl CreateDoorLink {
    fn validate(self, user: &AuthUser, now: DateTime<Utc>) -> ApiResult<NewDoorLink> {
        let (label, expiry) = (parse_label(&self.label), check_expiry(self.expires_at, now));
        match (label, expiry) {
            (Ok(label), Ok(())) => Ok(NewDoorLink {
                event_id: self.event_id,
                created_by: user.user_id,
                label,
                expires_at: self.expires_at,
            }),
            (label, expiry) => {
                let errors = [("label", label.err()), ("expires_at", expiry.err())];
                let errors = errors.into_iter().filter_map(|(field, fault)| Some(FieldError::new(field, fault?)));
                Err(ApiError::invalid(errors.collect()))
            }
        }
    }
}

impl From<DoorLink> for DoorLinkResponse {
    fn from(DoorLink { id, event_id, label, expires_at, created_at }: DoorLink) -> Self {
        Self { id, event_id, label, expires_at, created_at }
    }
}

/// Makes a link. There is no Idempotency-Key: a stored answer would hold the token. A link too many can be revoked.
pub(super) async fn create_door_link(
    State(state): State<AppState>,
    user: AuthUser,
    body: JsonBody<CreateDoorLink>,
) -> ApiResult<Created<NewDoorLinkResponse>> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    let body = body.parse()?;
    require_organizer(&state, &user, &body.event_id).await?;
    let new = body.validate(&user, state.clock.now())?;
    let token = door_token::random();
    let link = state.store.insert_door_link(&new, &door_token::hash(&token)).await?;
    Ok(Created(NewDoorLinkResponse { link: link.into(), token }))
}

/// Links of an event, newest first, without their tokens.
pub(super) async fn list_door_links(
    State(state): State<AppState>,
    user: AuthUser,
    query: ApiResult<Query<DoorLinksQuery>>,
) -> ApiResult<Json<Page<DoorLinkResponse>>> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    let Query(query) = query?;
    require_organizer(&state, &user, &query.event_id).await?;
    let limit = parse_limit(query.limit)?;
    let before = decode_cursor(query.cursor.as_deref())?;
    let rows = state.store.list_door_links(&query.event_id, before, i64::from(limit) + 1).await?;
    Ok(Json(Page::of(rows, limit, |link| link.id).map(DoorLinkResponse::from)))
}

/// Revokes a link at once.
pub(super) async fn revoke_door_link(
    State(state): State<AppState>,
    user: AuthUser,
    Path(DoorLinkPath { id }): Path<DoorLinkPath>,
) -> ApiResult<NoContent> {
    user.require_role(&[Role::Organizer, Role::Admin])?;
    let link = state.store.find_door_link(id).await?.ok_or_else(door_link_not_found)?;
    require_organizer(&state, &user, &link.event_id)
        .await
        .map_err(|refusal| if refusal.code() == not_your_event().code() { door_link_not_found() } else { refusal })?;
    state.store.delete_door_link(id).await?;
    Ok(NoContent)
}
