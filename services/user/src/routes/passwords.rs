//! Passwords: changed by their owner, reset by a token that an admin hands out.

use axum::{extract::State, response::NoContent};
use chrono::{DateTime, Utc};
use platform::{
    ApiResult,
    auth::AuthUser,
    extract::{ClientAddr, Created, JsonBody, Path},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{current_admin, current_user, field_error, sessions::verify_counted, users::UserPath};
use crate::{
    domain::Password,
    error::Refusal,
    state::{AppState, to_the_end},
    throttle::{GuessLimits, account_limits},
    tokens::{random_token, token_hash},
};

/// A change of one's own password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The present one.
    pub current_password: String,
    /// The next one, 8 to 128 characters.
    pub new_password: String,
}

/// A new password by a reset token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// From an admin.
    pub reset_token: String,
    /// The next password, 8 to 128 characters.
    pub new_password: String,
}

/// A token for setting a new password, once.
#[derive(Debug, JsonSchema, Serialize)]
pub struct ResetTokenResponse {
    /// To be handed to the user. It is shown this once; making another one makes it useless.
    pub reset_token: String,
    /// Until when it can be used.
    pub expires_at: DateTime<Utc>,
}

/// Ends every other session; this one goes on.
pub(super) async fn change(
    State(state): State<AppState>,
    auth: AuthUser,
    body: JsonBody<ChangePassword>,
) -> ApiResult<NoContent> {
    let user = current_user(&state, &auth).await?;
    let body = body.parse()?;
    let password = Password::choose(&body.new_password, &user.email);
    let password = password.map_err(|fault| field_error("new_password", fault))?;
    let session_id = auth.session_id.parse().map_err(|_| Refusal::SessionOver)?;
    to_the_end(async move {
        let old = state.store.find_password_hash(user.id).await?.ok_or(Refusal::SessionOver)?;
        let limits = GuessLimits::of_session(&auth.session_id);
        let current = Password::typed(&body.current_password);
        let worker = verify_counted(&state, &limits, current, Some(old.clone()), Refusal::WrongPassword).await?;
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

/// Takes no Idempotency-Key: a stored answer would keep the token, and another token harms nobody.
pub(super) async fn create_reset(
    State(state): State<AppState>,
    auth: AuthUser,
    Path(UserPath { id }): Path<UserPath>,
) -> ApiResult<Created<ResetTokenResponse>> {
    let admin = current_admin(&state, auth).await?;
    state.store.find_user(id).await?.ok_or(Refusal::UserNotFound)?;
    let reset_token = random_token();
    let expires_at = state.store.insert_reset(id, &token_hash(&reset_token)).await?.ok_or(Refusal::UserNotFound)?;
    tracing::info!(admin_id = admin.id, user_id = id, "reset token made");
    Ok(Created(ResetTokenResponse { reset_token, expires_at }))
}

/// Ends every session of the user.
pub(super) async fn reset(
    State(state): State<AppState>,
    ClientAddr(address): ClientAddr,
    body: JsonBody<ResetPassword>,
) -> ApiResult<NoContent> {
    let body = body.parse()?;
    let password = Password::parse(&body.new_password).map_err(|fault| field_error("new_password", fault))?;
    let hash = token_hash(&body.reset_token);
    to_the_end(async move {
        // Looked up first, so that made-up tokens cost no hashing.
        let email = state.store.find_reset_email(&hash).await?.ok_or(Refusal::InvalidResetToken)?;
        password.check_for(&email).map_err(|fault| field_error("new_password", fault))?;
        let password = state.hasher.hash(password).await?;
        if !state.store.use_reset(&hash, &password, &account_limits(&email, address)).await? {
            return Err(Refusal::InvalidResetToken.into());
        }
        tracing::info!("password reset");
        Ok(NoContent)
    })
    .await
}
