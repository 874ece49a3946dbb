//! What every handler and loop works with, built once.

use std::{sync::Arc, time::Duration};

use axum::extract::FromRef;
use chrono::TimeDelta;
use contracts::payment::Provider;
use platform::{Clock, auth::Verifier, idempotency::PgIdempotency};
use tokio::sync::Notify;

use crate::{
    clients::{event_service::EventClient, gateway::PaymentGateway},
    store::Store,
};

/// Shared by handlers and loops. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The database.
    pub store: Store,
    /// Records of requests with an Idempotency-Key.
    pub idempotency: PgIdempotency,
    /// event-service.
    pub events: EventClient,
    /// The payment company.
    pub gateway: Arc<dyn PaymentGateway>,
    /// The payment company's key for browsers.
    pub publishable_key: Option<Arc<str>>,
    /// Who is asking.
    pub verifier: Verifier,
    /// The time, for what is not measured by the database's.
    pub clock: Clock,
    /// What the operator of the platform decides.
    pub policy: Policy,
    /// Told when a message was committed to the outbox.
    pub relay_wake: Arc<Notify>,
    /// Told when an attempt to pay may have been decided.
    pub payments_wake: Arc<Notify>,
}

/// What the operator of the platform decides.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long seats are held for payment, in seconds.
    pub hold_seconds: u32,
    /// Until how long before its event a confirmed booking may be cancelled by its owner.
    pub cancel_deadline: TimeDelta,
    /// Who moves the money.
    pub provider: Provider,
    /// How often each comparison with a neighbour goes on.
    pub reconcile_interval: Duration,
}

/// How long work that goes on right after a commit keeps the sweepers away.
pub const INLINE_LEASE: Duration = Duration::from_secs(10);

impl FromRef<AppState> for Verifier {
    fn from_ref(state: &AppState) -> Self {
        state.verifier.clone()
    }
}
