//! Who sends a request: the user behind a token, or behind an e-mail address and a password.

use contracts::identity::Role;
use platform::{ApiResult, auth::AuthUser};
use uuid::Uuid;

use super::client::Client;
use crate::{
    crypto::hashing::{self, Worker},
    domain::{AttemptLimits, Email, KnownClient, Password, Refusal, Status, User},
    state::AppState,
};

/// The user as the database has them now, so that a changed role, a disabled account or an ended session takes effect
/// immediately. 401 `session_over`, 403 `account_disabled`.
pub(super) async fn current_user(state: &AppState, auth: &AuthUser) -> ApiResult<User> {
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

/// [`current_user`], who must be an admin: 403 `role_required`.
pub(super) async fn current_admin(state: &AppState, mut auth: AuthUser) -> ApiResult<User> {
    let user = current_user(state, &auth).await?;
    auth.0.role = user.role;
    auth.require_role(&[Role::Admin])?;
    Ok(user)
}

/// The user with this address and password, and the stored hash. An unknown user and a wrong password get the same
/// answer after the same time.
pub(super) async fn authenticate(
    state: &AppState,
    client: &Client,
    email: &str,
    password: &str,
) -> ApiResult<(User, String)> {
    let keys = client.keys(&state.token_key);
    let (found, known) = match Email::parse(email) {
        Ok(email) => (state.store.find_credentials(&email).await?, state.store.find_known_client(&email, &keys).await?),
        Err(_) => (None, KnownClient::default()),
    };
    let limits = AttemptLimits::of_login(email, client.address, &keys, known);
    let stored = found.as_ref().map(|found| found.password_hash.clone());
    let password = Password::unchecked(password);
    let worker = verify_password(state, &limits, password.clone(), stored, Refusal::InvalidCredentials).await?;
    let found = found.ok_or(Refusal::InvalidCredentials)?;
    if found.user.status == Status::Disabled {
        return Err(Refusal::AccountDisabled.into());
    }
    if !hashing::is_outdated(&found.password_hash) {
        return Ok((found.user, found.password_hash));
    }
    let renewed = renew_hash(state, &worker, found.user.id, &found.password_hash, password).await?;
    Ok((found.user, renewed))
}

/// Hashes a correct password with the current parameters; returns the hash that is stored afterwards.
async fn renew_hash(
    state: &AppState,
    worker: &Worker,
    user_id: i32,
    old: &str,
    password: Password,
) -> ApiResult<String> {
    let renewed = worker.hash(password.clone()).await?;
    if state.store.update_password_hash(user_id, old, &renewed).await? {
        tracing::info!(user_id, "password rehashed");
        return Ok(renewed);
    }
    // Either a concurrent login has renewed the hash, or the password was changed meanwhile.
    let stored = state.store.find_password_hash(user_id).await?.ok_or(Refusal::InvalidCredentials)?;
    if worker.verify(password, Some(stored.clone())).await? {
        Ok(stored)
    } else {
        Err(Refusal::InvalidCredentials.into())
    }
}

/// Verifies a password within `limits`: 429 `too_many_attempts` at a limit, `wrong` if the password is wrong.
///
/// At a limit the password is not verified, so the answer does not reveal whether it was right. Below it, an attempt
/// counts as a failure before it is verified, so parallel attempts gain nothing over sequential ones.
pub(super) async fn verify_password(
    state: &AppState,
    limits: &AttemptLimits,
    password: Password,
    stored: Option<String>,
    wrong: Refusal,
) -> ApiResult<Worker> {
    reject_at_limit(state.store.find_wait(&limits.all).await?)?;
    let _permit = state.attempts.acquire(&limits.client).await;
    let worker = state.hasher.worker().await?;
    reject_at_limit(state.store.reserve(&limits.all).await?)?;
    if !worker.verify(password, stored).await? {
        return Err(wrong.into());
    }
    state.store.release(&limits.all, &limits.client).await?;
    Ok(worker)
}

fn reject_at_limit(wait: Option<u32>) -> ApiResult<()> {
    match wait {
        Some(retry_after_seconds) => Err(Refusal::TooManyAttempts { retry_after_seconds }.into()),
        None => Ok(()),
    }
}
