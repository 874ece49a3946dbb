//! Registration, and the users that admins list and change.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use contracts::identity::{Language, Role};
use platform::{
    ApiError, ApiResult,
    auth::AuthUser,
    extract::{Created, JsonBody, Path, Query},
    idempotency::{self, IdempotencyKey, Replayable},
    page::{Page, decode_cursor, parse_limit},
    task::run_to_completion,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{authentication::current_admin, client::Client};
use crate::{
    domain::{AdminChange, NewUser, Refusal, Status, StatusFilter, User, UserChange, limits::registration_limit},
    state::AppState,
};

/// A registration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterRequest {
    /// At most 254 ASCII characters; unique, ignoring case.
    email: String,
    /// 8 to 128 characters of any kind; neither one of the most common passwords nor derived from the address.
    password: String,
    /// Display name, 1 to 100 characters.
    name: String,
    /// `attendee` (the default) or `organizer`.
    role: Option<Role>,
    /// The language of notifications and other texts for the user; may be chosen later.
    language: Option<Language>,
}

/// A user.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct UserResponse {
    /// Never reused.
    id: i32,
    /// As the user typed it.
    email: String,
    /// Display name.
    name: String,
    role: Role,
    /// The role that the user requested and an admin has not decided on; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_role: Option<Role>,
    status: Status,
    /// Absent if the user has not chosen one.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<Language>,
    created_at: DateTime<Utc>,
}

/// Which users to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UsersQuery {
    status: Option<StatusFilter>,
    /// Items a page, 1 to 100; 20 if absent.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UserPath {
    pub(super) id: i32,
}

/// What an admin changes about a user; absent fields stay unchanged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateUser {
    /// Setting a role also settles the user's request for one.
    role: Option<Role>,
    /// Disabling ends every session.
    status: Option<Status>,
}

/// Identifies equal registrations. The password is a keyed hash, because the record outlives the request.
#[derive(Serialize)]
struct Fingerprint<'a> {
    email: &'a str,
    name: &'a str,
    role: Option<Role>,
    password: String,
    // Absent if not chosen, as in the version without languages, so that replicas of both versions agree.
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
    let mut new = NewUser::parse(&body.email, &body.name, &body.password, body.role, state.policy.organizer_approval)
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
    let limit = registration_limit(client.address, state.policy.registrations_per_address);
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
    let changed = run_to_completion(async move { state.store.update_user(admin.id, id, change).await }).await?;
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
