//! What handlers and loops share.

use std::sync::Arc;

use axum::extract::FromRef;
use bson::Bson;
use contracts::payment::Provider;
use platform::{Clock, auth::Verifier, idempotency::MongoIdempotency, outbox::Handoff};
use tokio::sync::Notify;

use crate::{cache::EventCache, queue::OperationQueue, store::Store};

/// What handlers and loops share. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    /// For reads of users.
    pub cache: EventCache,
    /// For every change of an event, its counters or its reservations.
    pub queue: OperationQueue,
    /// Messages on their way to the relay.
    pub outbox: Handoff<Bson>,
    /// Wakes the loop that cancels the events of deleted accounts.
    pub deletions: Arc<Notify>,
    pub idempotency: MongoIdempotency,
    pub verifier: Verifier,
    /// Decides which prices can be charged.
    pub payment_provider: Provider,
    pub clock: Clock,
}

impl FromRef<AppState> for Verifier {
    fn from_ref(state: &AppState) -> Self {
        state.verifier.clone()
    }
}
