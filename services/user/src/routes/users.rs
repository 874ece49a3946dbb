//! People: registration, oneself, and what admins see and change.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use contracts::identity::{Language, Role};
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    extract::{Created, JsonBody, Path, Query},
    idempotency::{self, IdempotencyKey, Replayable},
    page::{Page, decode_cursor, parse_limit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{client::Client, current_admin};
use crate::{
    domain::{NewUser, Status},
    error::Refusal,
    state::{AppState, to_the_end},
    store::{AdminChange, StatusFilter, User, UserChange},
    throttle::registration_limit,
};

/// A registration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// At most 254 characters, of ASCII; nobody else's, in any case.
    pub email: String,
    /// 8 to 128 characters of any kind; neither one of the most common passwords nor made from the address.
    pub password: String,
    /// Display name, 1 to 100 characters.
    pub name: String,
    /// `attendee` (if absent) or `organizer`.
    pub role: Option<Role>,
    /// The language of notifications and other texts for the person; may be chosen later.
    pub language: Option<Language>,
}

/// A person.
#[derive(Debug, JsonSchema, Serialize)]
pub struct UserResponse {
    /// Unique for ever.
    pub id: i32,
    /// As it was typed.
    pub email: String,
    /// Display name.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// The role that was asked for and awaits an admin; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_role: Option<Role>,
    /// Whether the account can be used.
    pub status: Status,
    /// The language that the person chose; absent if none was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// When the person registered.
    pub created_at: DateTime<Utc>,
}

/// Which people to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsersQuery {
    /// Only these.
    pub status: Option<StatusFilter>,
    /// Items a page, 1 to 100; 20 if absent.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Which person.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UserPath {
    /// The person's id.
    pub(super) id: i32,
}

/// What an admin changes about a person; what is absent stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// Another role. Naming one also settles the request for a role.
    pub role: Option<Role>,
    /// Another status. Disabling ends every session.
    pub status: Option<Status>,
}

/// What makes two registrations the same. The password is in it under a key: the record outlives the request.
#[derive(Serialize)]
struct Fingerprint<'a> {
    email: &'a str,
    name: &'a str,
    role: Option<Role>,
    password: String,
    // Absent if none was chosen, as before there were languages, so that replicas of both versions agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<Language>,
}

pub(super) async fn register(
    State(state): State<AppState>,
    client: Client,
    key: IdempotencyKey,
    body: JsonBody<RegisterRequest>,
) -> ApiResult<Replayable<Created<UserResponse>>> {
    let body = body.parse()?;
    let mut new = NewUser::parse(&body.email, &body.name, &body.password, body.role, state.rules.organizer_approval)
        .map_err(ApiError::invalid)?;
    new.language = body.language;
    let fingerprint = Fingerprint {
        email: &body.email,
        name: &body.name,
        role: body.role,
        password: state.token_key.fingerprint(body.password.as_bytes()),
        language: body.language,
    };
    let records = state.idempotency.clone();
    let limit = registration_limit(client.address, state.rules.registrations_per_address);
    idempotency::run(&records, key, 0, &fingerprint, move |operation_id| async move {
        if let Some(retry_after_seconds) = state.store.reserve(&[limit]).await? {
            return Err(Refusal::TooManyRegistrations { retry_after_seconds }.into());
        }
        let hash = state.hasher.hash(new.password.clone()).await?;
        let user = state.store.insert_user(&new, &hash, operation_id).await?.ok_or(Refusal::EmailTaken)?;
        tracing::info!(user_id = user.id, role = user.role.as_str(), "registered");
        Ok(Created(user.into()))
    })
    .await
}

pub(super) async fn list_users(
    State(state): State<AppState>,
    auth: AuthUser,
    query: ApiResult<Query<UsersQuery>>,
) -> ApiResult<Json<Page<UserResponse>>> {
    current_admin(&state, auth).await?;
    let Query(query) = query?;
    let limit = parse_limit(query.limit)?;
    let after = decode_cursor::<i32>(query.cursor.as_deref())?.unwrap_or(0);
    let users = state.store.list_users(query.status, after, i64::from(limit) + 1).await?;
    Ok(Json(Page::of(users, limit, |user| user.id).map(UserResponse::from)))
}

pub(super) async fn update_user(
    State(state): State<AppState>,
    auth: AuthUser,
    Path(UserPath { id }): Path<UserPath>,
    body: JsonBody<UpdateUser>,
) -> ApiResult<Json<UserResponse>> {
    let admin = current_admin(&state, auth).await?;
    state.store.find_user(id).await?.ok_or(Refusal::UserNotFound)?;
    let body = body.parse()?;
    if admin.id == id {
        return Err(Refusal::OwnAccount.into());
    }
    let change = UserChange { role: body.role, status: body.status };
    let changed = to_the_end(async move { Ok(state.store.update_user(admin.id, id, change).await?) }).await?;
    let user = match changed {
        AdminChange::Changed(user) => user,
        AdminChange::NoSuchUser => return Err(Refusal::UserNotFound.into()),
        AdminChange::NotByAdmin => return Err(Refusal::NotAdminAnyMore.into()),
    };
    tracing::info!(admin_id = admin.id, user_id = id, role = ?change.role, status = ?change.status, "user changed");
    Ok(Json(user.into()))
}

impl From<User> for UserResponse {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            role: user.role,
            requested_role: user.requested_role,
            status: user.status,
            language: user.language,
            created_at: user.created_at,
        }
    }
}
