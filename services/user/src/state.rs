//! What handlers and loops share, built once.

use axum::extract::FromRef;
use platform::{Clock, auth::Verifier, idempotency::PgIdempotency, outbox::Handoff};
use uuid::Uuid;

use crate::{
    attempt_limiter::AttemptLimiter,
    clients::event_service::EventClient,
    crypto::{hashing::PasswordHasher, signing::SigningKeys, tokens::TokenKey},
    store::Store,
};

/// Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub idempotency: PgIdempotency,
    pub hasher: PasswordHasher,
    pub attempts: AttemptLimiter,
    /// Verifies the access tokens that [`AppState::signing`] signs.
    pub verifier: Verifier,
    pub signing: SigningKeys,
    pub token_key: TokenKey,
    pub events: EventClient,
    /// Woken when a message was committed to the outbox.
    pub outbox: Handoff<Uuid>,
    /// For times that the database does not measure.
    pub clock: Clock,
    pub policy: Policy,
}

/// The configured rules.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whether an admin must approve organizers.
    pub organizer_approval: bool,
    /// Lifetime of an access token.
    pub access_token_seconds: u32,
    /// Lifetime of a session that is not refreshed.
    pub refresh_token_days: u32,
    /// Registrations from one address in an hour.
    pub registrations_per_address: u32,
}

impl FromRef<AppState> for Verifier {
    fn from_ref(state: &AppState) -> Self {
        state.verifier.clone()
    }
}
