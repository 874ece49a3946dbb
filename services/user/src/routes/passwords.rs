//! Passwords: changed by their owner, or reset with a token from an admin.

use axum::{extract::State, response::NoContent};
use chrono::{DateTime, Utc};
use platform::{
    ApiResult,
    auth::AuthUser,
    extract::{ClientAddr, Created, JsonBody, Path},
    task::run_to_completion,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    authentication::{current_admin, current_user, verify_password},
    users::UserPath,
};
use crate::{
    crypto::tokens::{random_token, token_hash},
    domain::{AttemptLimits, Password, Refusal, limits::account_limits},
    error::invalid_field,
    state::AppState,
};

/// A change of the caller's password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePassword {
    current_password: String,
    /// 8 to 128 characters.
    new_password: String,
}

/// A new password for the user of a reset token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetPassword {
    /// From an admin.
    reset_token: String,
    /// 8 to 128 characters.
    new_password: String,
}

/// A token that sets a new password once.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct ResetTokenResponse {
    /// To be given to the user. It cannot be retrieved again; creating another one invalidates it.
    reset_token: String,
    expires_at: DateTime<Utc>,
}

/// Ends every other session.
pub(super) async fn change_password(
    State(state): State<AppState>,
    auth: AuthUser,
    body: JsonBody<ChangePassword>,
) -> ApiResult<NoContent> {
    let user = current_user(&state, &auth).await?;
    let body = body.parse()?;
    let password = Password::parse_new(&body.new_password, &user.email);
    let password = password.map_err(|error| invalid_field("new_password", error))?;
    let session_id = auth.session_id.parse().map_err(|_| Refusal::SessionOver)?;
    run_to_completion(async move {
        let old = state.store.find_password_hash(user.id).await?.ok_or(Refusal::SessionOver)?;
        let limits = AttemptLimits::of_session(&auth.session_id);
        let current = Password::unchecked(&body.current_password);
        let worker = verify_password(&state, &limits, current, Some(old.clone()), Refusal::WrongPassword).await?;
        let new = worker.hash(password).await?;
        drop(worker);
        if !state.store.update_password(user.id, &old, &new, session_id).await? {
            return Err(Refusal::PasswordChangedMeanwhile.into());
        }
        tracing::info!(user_id = user.id, "password changed");
        Ok(NoContent)
    })
    .await
}

/// Takes no Idempotency-Key: a stored answer would contain the token, and a second token does no harm.
pub(super) async fn create_reset_token(
    State(state): State<AppState>,
    auth: AuthUser,
    Path(UserPath { id }): Path<UserPath>,
) -> ApiResult<Created<ResetTokenResponse>> {
    let admin = current_admin(&state, auth).await?;
    state.store.find_user(id).await?.ok_or(Refusal::UserNotFound)?;
    let reset_token = random_token();
    let expires_at = state.store.insert_reset(id, &token_hash(&reset_token)).await?.ok_or(Refusal::UserNotFound)?;
    tracing::info!(admin_id = admin.id, user_id = id, "reset token created");
    Ok(Created(ResetTokenResponse { reset_token, expires_at }))
}

/// Ends every session of the user.
pub(super) async fn reset_password(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    body: JsonBody<ResetPassword>,
) -> ApiResult<NoContent> {
    let body = body.parse()?;
    let password = Password::parse(&body.new_password).map_err(|error| invalid_field("new_password", error))?;
    let hash = token_hash(&body.reset_token);
    run_to_completion(async move {
        // First, so that invalid tokens cost no hashing.
        let email = state.store.find_reset_email(&hash).await?.ok_or(Refusal::InvalidResetToken)?;
        password.check_strength(&email).map_err(|error| invalid_field("new_password", error))?;
        let password = state.hasher.hash(password).await?;
        if !state.store.use_reset(&hash, &password, &account_limits(&email, address)).await? {
            return Err(Refusal::InvalidResetToken.into());
        }
        tracing::info!("password reset");
        Ok(NoContent)
    })
    .await
}
