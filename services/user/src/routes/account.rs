//! The caller's own account: profile, sessions, the request to become an organizer, and deletion.

use axum::{Json, extract::State, response::NoContent};
use chrono::{DateTime, Utc};
use contracts::{
    identity::Language,
    message::{Message, UserFact},
};
use platform::{
    ApiResult,
    auth::AuthUser,
    extract::{ClientAddr, JsonBody, Path, Query},
    page::{Page, PageQuery, decode_cursor, parse_limit},
    task::run_to_completion,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    authentication::{current_user, verify_password},
    sessions::LoggedOut,
    users::UserResponse,
};
use crate::{
    domain::{
        AttemptLimits, Name, Password, ProfileChange, RateLimit, Refusal, Session, User, device, limits::account_limits,
    },
    error::invalid_field,
    state::AppState,
    store::{AccountDeletion, DeletionOutcome},
};

/// A change to the caller's profile; absent fields stay unchanged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateProfile {
    /// Display name, 1 to 100 characters.
    name: Option<String>,
    /// The language of notifications and other texts for the user.
    language: Option<Language>,
}

/// The deletion of the caller's account.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteAccount {
    /// The current password.
    password: String,
}

/// One of the caller's sessions.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct OwnSessionResponse {
    id: Uuid,
    created_at: DateTime<Utc>,
    /// When it began or was last refreshed, which happens every few minutes while it is in use.
    last_used_at: DateTime<Utc>,
    /// The browser or program, such as `Firefox`; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    browser: Option<String>,
    /// The operating system, such as `Windows`; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    operating_system: Option<&'static str>,
    /// Whether this request belongs to it.
    current: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SessionPath {
    session_id: Uuid,
}

pub(super) async fn get_profile(State(state): State<AppState>, auth: AuthUser) -> ApiResult<Json<UserResponse>> {
    Ok(Json(current_user(&state, &auth).await?.into()))
}

/// The next access token carries the change.
pub(super) async fn update_profile(
    State(state): State<AppState>,
    auth: AuthUser,
    body: JsonBody<UpdateProfile>,
) -> ApiResult<Json<UserResponse>> {
    let user = current_user(&state, &auth).await?;
    let body = body.parse()?;
    let name = body.name.as_deref().map(Name::parse).transpose().map_err(|error| invalid_field("name", error))?;
    let change = ProfileChange { name, language: body.language };
    let user = run_to_completion(async move { state.store.update_profile(user.id, &change).await }).await?;
    let user = user.ok_or(Refusal::SessionOver)?;
    tracing::info!(user_id = user.id, "profile changed");
    Ok(Json(user.into()))
}

pub(super) async fn list_sessions(
    State(state): State<AppState>,
    auth: AuthUser,
    query: ApiResult<Query<PageQuery>>,
) -> ApiResult<Json<Page<OwnSessionResponse>>> {
    let user = current_user(&state, &auth).await?;
    let Query(query) = query?;
    let limit = parse_limit(query.limit)?;
    let after = decode_cursor::<Uuid>(query.cursor.as_deref())?;
    let sessions = state.store.list_sessions(user.id, after, i64::from(limit) + 1).await?;
    let page = Page::of(sessions, limit, |session| session.id);
    Ok(Json(page.map(|session| OwnSessionResponse::new(&session, &auth.session_id))))
}

pub(super) async fn end_session(
    State(state): State<AppState>,
    auth: AuthUser,
    path: ApiResult<Path<SessionPath>>,
) -> ApiResult<NoContent> {
    let user = current_user(&state, &auth).await?;
    let Path(SessionPath { session_id }) = path?;
    let ended = run_to_completion(async move { state.store.end_session(user.id, session_id).await }).await?;
    if !ended {
        return Err(Refusal::SessionNotFound.into());
    }
    tracing::info!(user_id = user.id, "session ended");
    Ok(NoContent)
}

/// Ends every session except the caller's.
pub(super) async fn end_other_sessions(State(state): State<AppState>, auth: AuthUser) -> ApiResult<NoContent> {
    let user = current_user(&state, &auth).await?;
    let kept = auth.session_id.parse().map_err(|_| Refusal::SessionOver)?;
    run_to_completion(async move { state.store.end_other_sessions(user.id, kept).await }).await?;
    tracing::info!(user_id = user.id, "other sessions ended");
    Ok(NoContent)
}

/// Admins find the request among users with `status=pending`, and settle it by setting a role.
pub(super) async fn request_organizer_role(
    State(state): State<AppState>,
    auth: AuthUser,
) -> ApiResult<Json<UserResponse>> {
    set_role_request(state, auth, true).await
}

pub(super) async fn withdraw_organizer_request(
    State(state): State<AppState>,
    auth: AuthUser,
) -> ApiResult<Json<UserResponse>> {
    set_role_request(state, auth, false).await
}

async fn set_role_request(state: AppState, auth: AuthUser, requested: bool) -> ApiResult<Json<UserResponse>> {
    let user = current_user(&state, &auth).await?;
    let user = run_to_completion(async move { state.store.update_role_request(user.id, requested).await }).await?;
    let user = user.ok_or(Refusal::AlreadyOrganizer)?;
    tracing::info!(user_id = user.id, requested, "request for the organizer role changed");
    Ok(Json(user.into()))
}

/// Also clears the browser's cookies.
pub(super) async fn delete_account(
    State(state): State<AppState>,
    auth: AuthUser,
    ClientAddr(address): ClientAddr,
    body: JsonBody<DeleteAccount>,
) -> ApiResult<LoggedOut> {
    let user = current_user(&state, &auth).await?;
    let body = body.parse()?;
    run_to_completion(async move {
        let hash = state.store.find_password_hash(user.id).await?.ok_or(Refusal::SessionOver)?;
        let limits = AttemptLimits::of_session(&auth.session_id);
        let password = Password::unchecked(&body.password);
        let worker = verify_password(&state, &limits, password, Some(hash.clone()), Refusal::WrongPassword).await?;
        // Let others hash during the call to event-service.
        drop(worker);
        if state.events.has_events_to_come(user.id).await? {
            return Err(Refusal::EventsToCome.into());
        }
        let mut counters = account_limits(&user.email, address);
        counters.push(limits.client);
        delete(&state, &user, &hash, &counters).await?;
        Ok(LoggedOut::clear_cookies(&state))
    })
    .await
}

async fn delete(state: &AppState, user: &User, password_hash: &str, limits: &[RateLimit]) -> ApiResult<()> {
    let message = &Message::UserDeleted(UserFact { user_id: user.id, occurred_at: state.clock.now() });
    let refusal = Refusal::AccountDeleted.into();
    let account = AccountDeletion { user_id: user.id, password_hash, limits, message, refusal };
    match state.store.delete_account(account).await? {
        DeletionOutcome::Deleted => {}
        DeletionOutcome::LastAdmin => return Err(Refusal::LastAdmin.into()),
        DeletionOutcome::PasswordChanged => return Err(Refusal::PasswordChangedMeanwhile.into()),
        DeletionOutcome::AccountGone => return Err(Refusal::SessionOver.into()),
    }
    state.outbox.wake();
    tracing::info!(user_id = user.id, "account deleted");
    Ok(())
}

impl OwnSessionResponse {
    fn new(session: &Session, current: &str) -> Self {
        let user_agent = session.user_agent.as_deref().unwrap_or_default();
        Self {
            id: session.id,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            browser: device::browser(user_agent),
            operating_system: device::operating_system(user_agent),
            current: session.id.to_string() == current,
        }
    }
}
