//! What handlers share.

use axum::extract::FromRef;
use contracts::payment::Provider;
use platform::{Clock, auth::Verifier, idempotency::MongoIdempotency};

use crate::{capacity::Capacity, reads::Reads, store::Store};

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The database.
    pub store: Store,
    /// Reads through the cache.
    pub reads: Reads,
    /// Every change of an event, its counters or its reservations.
    pub capacity: Capacity,
    /// Answers kept under idempotency keys.
    pub idempotency: MongoIdempotency,
    /// Who is asking.
    pub verifier: Verifier,
    /// The payment provider, which charges the prices.
    pub payment_provider: Provider,
    /// The time.
    pub clock: Clock,
}

impl FromRef<AppState> for Verifier {
    fn from_ref(state: &AppState) -> Self {
        state.verifier.clone()
    }
}
