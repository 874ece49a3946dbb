//! What handlers share. Cheap to clone; built once.

use std::{future::Future, sync::Arc};

use axum::extract::FromRef;
use platform::{
    ApiError, ApiResult, Clock,
    auth::{Cookies, ServiceKeys, Verifier},
    idempotency::PgIdempotency,
    trace,
};
use sqlx::PgPool;

use crate::{
    config::Config, events::EventService, hashing::PasswordHasher, signing::SigningKeys, store::Store, throttle::Turns,
    tokens::TokenKey,
};

/// What handlers share.
#[derive(Clone)]
pub struct AppState {
    /// Every query.
    pub store: Store,
    /// Stored answers of registrations.
    pub idempotency: PgIdempotency,
    /// argon2id.
    pub hasher: PasswordHasher,
    /// Limits how many passwords of one account are verified at a time.
    pub turns: Turns,
    /// The keys of access tokens.
    pub signing: SigningKeys,
    /// The key of refresh tokens.
    pub token_key: TokenKey,
    /// Checks the access tokens that come back.
    pub verifier: Verifier,
    /// Asked for events.
    pub events: EventService,
    /// The time.
    pub clock: Clock,
    /// The numbers and switches that handlers go by.
    pub rules: Arc<Rules>,
}

/// The numbers and switches that handlers go by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether an admin has to approve organizers.
    pub organizer_approval: bool,
    /// Lifetime of an access token.
    pub access_token_seconds: u32,
    /// Lifetime of a session that is not refreshed.
    pub refresh_token_days: u32,
    /// Registrations from one address in an hour.
    pub registrations_per_address: u32,
}

impl AppState {
    /// The state by `config`. Fails when keys are missing or unfit.
    pub fn new(config: &Config, pool: PgPool, clock: Clock) -> anyhow::Result<Self> {
        let signing = SigningKeys::from_dir(config.signing_keys_dir()?, clock.clone())?;
        let verifier = Verifier::new(
            signing.public_keys(),
            ServiceKeys::none("user-service"),
            Cookies::new(&config.service.public_url),
            clock.clone(),
        );
        Ok(Self {
            store: Store::new(pool.clone()),
            idempotency: PgIdempotency::new(pool),
            hasher: PasswordHasher::new(config.password_hash_workers),
            turns: Turns::default(),
            signing,
            token_key: TokenKey::new(&config.refresh_token_key()?),
            verifier,
            events: EventService::new(config.event_service_url()?),
            clock,
            rules: Arc::new(Rules {
                organizer_approval: config.organizer_approval,
                access_token_seconds: config.access_token_seconds,
                refresh_token_days: config.refresh_token_days,
                registrations_per_address: config.registrations_per_address,
            }),
        })
    }
}

impl FromRef<AppState> for Verifier {
    fn from_ref(state: &AppState) -> Self {
        state.verifier.clone()
    }
}

/// Runs `work` to its end also when the client disconnects, which makes axum drop the handler.
pub async fn to_the_end<T, F>(work: F) -> ApiResult<T>
where
    T: Send + 'static,
    F: Future<Output = ApiResult<T>> + Send + 'static,
{
    trace::spawn(work).await.map_err(|error| ApiError::internal(anyhow::Error::new(error)))?
}
