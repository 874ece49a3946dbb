//! The whole URL table.

mod account;
mod authentication;
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
use platform::{openapi, server::limited};

use crate::state::AppState;

/// Every path that this service answers.
pub fn router(state: AppState) -> Router {
    // Requests that hash a password have their own admission group, so that others do not wait for them.
    let hashing = ApiRouter::new()
        .api_route(
            "/users/register",
            post_with(users::register, |op| {
                op.summary("Register an account").description(
                    "Refused with 409 `email_taken`, or `account_deleted` if the `Idempotency-Key` is that of a \
                     registration whose account was deleted since; 422 `invalid_request` or `idempotency_key_reused`; \
                     429 `too_many_registrations`, `hashing_overloaded` or `overloaded`.",
                )
            }),
        )
        .api_route(
            "/users/login",
            post_with(sessions::log_in, |op| op.summary("Log in; the session is carried by tokens or by cookies")),
        )
        .api_route(
            "/users/me/password",
            post_with(passwords::change_password, |op| op.summary("Change your password")),
        )
        .api_route(
            "/users/me/delete",
            post_with(account::delete_account, |op| {
                op.summary("Delete your account").description(
                    "Needs the password. user-service erases the personal data immediately, the other services within \
                     moments. The address may be registered again. Refused with 401 \
                     `login_required`, `invalid_token` or `session_over`; 403 `wrong_password` or `account_disabled`; 409 \
                     `last_admin` if nobody else is an active admin, `events_to_come` if the caller has published events \
                     that have not ended, or `password_changed_meanwhile`; 429 `too_many_attempts`, \
                     `hashing_overloaded` or `overloaded`; 503 `event_service_unavailable` or `database_unavailable`.",
                )
            }),
        )
        .api_route(
            "/users/password-reset",
            post_with(passwords::reset_password, |op| op.summary("Set a new password with a reset token")),
        );
    let users = ApiRouter::new()
        .api_route(
            "/users/token/refresh",
            post_with(sessions::refresh, |op| op.summary("Exchange a refresh token for new tokens or cookies")),
        )
        .api_route("/users/logout", post_with(sessions::log_out, |op| op.summary("Log out")))
        .api_route(
            "/users/me",
            get_with(account::get_profile, |op| op.summary("Get your profile"))
                .patch_with(account::update_profile, |op| op.summary("Change your name or language")),
        )
        .api_route(
            "/users/me/sessions",
            get_with(account::list_sessions, |op| op.summary("List your sessions"))
                .delete_with(account::end_other_sessions, |op| op.summary("End all your other sessions")),
        )
        .api_route(
            "/users/me/sessions/{session_id}",
            delete_with(account::end_session, |op| op.summary("End one of your sessions")),
        )
        .api_route(
            "/users/me/organizer-request",
            put_with(account::request_organizer_role, |op| op.summary("Request to become an organizer"))
                .delete_with(account::withdraw_organizer_request, |op| {
                    op.summary("Withdraw your request to become an organizer")
                }),
        )
        .api_route("/users/events", get_with(events::list_events, |op| op.summary("List and search events")))
        .api_route("/users", get_with(users::list_users, |op| op.summary("List users (admins)")))
        .api_route(
            "/users/{id}",
            patch_with(users::update_user, |op| op.summary("Change the role or status of a user (admins)")),
        )
        .api_route(
            "/users/{id}/password-reset",
            post_with(passwords::create_reset_token, |op| op.summary("Create a password reset token (admins)")),
        );
    // No admission limit: every other service depends on these.
    let keys = ApiRouter::new()
        .api_route(
            "/.well-known/jwks.json",
            get_with(keys::list_keys, |op| op.summary("List the keys that verify access tokens")),
        )
        .api_route(
            "/.well-known/revocations.json",
            get_with(keys::list_revocations, |op| {
                op.summary("List ended sessions and changed roles (services)").response_with::<304, (), _>(|response| {
                    response.description("The list still matches `If-None-Match`.")
                })
            }),
        );
    let table = limited(hashing).merge(limited(users)).merge(keys);
    openapi::finish(table, "user-service", "/users/openapi.json").with_state(state)
}
