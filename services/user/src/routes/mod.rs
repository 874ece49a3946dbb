//! The URL table.

mod account;
mod client;
mod events;
mod keys;
mod passwords;
mod sessions;
mod users;

use aide::axum::{
    ApiRouter,
    routing::{delete_with, get_with, patch_with, post_with, put_with},
};
use axum::Router;
use platform::{ApiError, ApiResult, auth::AuthUser, openapi, server::limited};
use uuid::Uuid;

pub use self::{
    account::{OwnSessionResponse, UpdateProfile},
    events::EventsQuery,
    passwords::{ChangePassword, ResetPassword, ResetTokenResponse},
    sessions::{LoginRequest, RefreshRequest, SessionResponse},
    users::{RegisterRequest, UpdateUser, UserResponse, UsersQuery},
};
use crate::{domain::Status, error::Refusal, state::AppState, store::User};

/// Every URL of the service.
pub fn router(state: AppState) -> Router {
    // These wait for passwords to be hashed. Others must not wait for them.
    let hashing = ApiRouter::new()
        .api_route("/users/register", post_with(users::register, |op| op.summary("Register")))
        .api_route("/users/login", post_with(sessions::login, |op| op.summary("Log in, by tokens or by cookies")))
        .api_route("/users/me/password", post_with(passwords::change, |op| op.summary("Change my password")))
        .api_route(
            "/users/password-reset",
            post_with(passwords::reset, |op| op.summary("Set a new password by a reset token")),
        );
    let people = ApiRouter::new()
        .api_route(
            "/users/token/refresh",
            post_with(sessions::refresh, |op| op.summary("Exchange a refresh token for new tokens or cookies")),
        )
        .api_route("/users/logout", post_with(sessions::logout, |op| op.summary("Log out")))
        .api_route(
            "/users/me",
            get_with(account::me, |op| op.summary("My profile"))
                .patch_with(account::update_me, |op| op.summary("Change my name or language")),
        )
        .api_route(
            "/users/me/sessions",
            get_with(account::list_sessions, |op| op.summary("My sessions"))
                .delete_with(account::end_other_sessions, |op| op.summary("End all my other sessions")),
        )
        .api_route(
            "/users/me/sessions/{session_id}",
            delete_with(account::end_session, |op| op.summary("End one of my sessions")),
        )
        .api_route(
            "/users/me/organizer-request",
            put_with(account::request_organizer, |op| op.summary("Ask to become an organizer"))
                .delete_with(account::withdraw_organizer_request, |op| {
                    op.summary("Withdraw my request to become an organizer")
                }),
        )
        .api_route("/users/events", get_with(events::list_events, |op| op.summary("Available events")))
        .api_route("/users", get_with(users::list_users, |op| op.summary("List people (admins)")))
        .api_route("/users/{id}", patch_with(users::update_user, |op| op.summary("Change a role or status (admins)")))
        .api_route(
            "/users/{id}/password-reset",
            post_with(passwords::create_reset, |op| op.summary("Make a reset token (admins)")),
        );
    // Every other service depends on them.
    let keys = ApiRouter::new()
        .api_route("/.well-known/jwks.json", get_with(keys::jwks, |op| op.summary("Keys that verify access tokens")))
        .api_route(
            "/.well-known/revocations.json",
            get_with(keys::revocations, |op| op.summary("Ended sessions and changed roles (services)")),
        );
    let table = limited(hashing).merge(limited(people)).merge(keys);
    openapi::finish(table, "user-service", "/users/openapi.json").with_state(state)
}

/// The person behind a token as the database has them now, so that a role taken away, a closed account and an ended
/// session are seen at once. 401 `session_over`, 403 `account_disabled`.
async fn current_user(state: &AppState, auth: &AuthUser) -> ApiResult<User> {
    let user = match auth.session_id.parse::<Uuid>() {
        Ok(session_id) => state.store.find_user_in_session(auth.user_id, session_id).await?,
        Err(_) => None,
    };
    match user {
        Some(user) if user.status == Status::Active => Ok(user),
        Some(_) => Err(Refusal::AccountDisabled.into()),
        None => Err(Refusal::SessionOver.into()),
    }
}

/// [`current_user`], who has to be an admin: 403 `role_required`.
async fn current_admin(state: &AppState, auth: AuthUser) -> ApiResult<User> {
    let user = current_user(state, &auth).await?;
    let mut now = auth;
    now.0.role = user.role;
    now.require_role(&[contracts::identity::Role::Admin])?;
    Ok(user)
}

fn field_error(field: &str, fault: &str) -> ApiError {
    ApiError::invalid(vec![platform::error::FieldError::new(field, fault)])
}
