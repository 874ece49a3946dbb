//! What handlers and loops share, built once.

use std::{sync::Arc, time::Duration};

use axum::extract::FromRef;
use chrono::TimeDelta;
use contracts::payment::Provider;
use platform::{Clock, auth::Verifier, idempotency::PgIdempotency};
use tokio::sync::Notify;

use crate::{
    clients::{event_service::EventClient, gateway::PaymentGateway},
    crypto::ticket_keys::TicketKeys,
    store::Store,
};

/// Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub idempotency: PgIdempotency,
    pub events: EventClient,
    pub gateway: Arc<dyn PaymentGateway>,
    /// The payment provider's key for browsers.
    pub publishable_key: Option<Arc<str>>,
    pub verifier: Verifier,
    /// Sign the codes of tickets.
    pub ticket_keys: TicketKeys,
    /// For times that the database does not measure.
    pub clock: Clock,
    pub policy: Policy,
    /// Notified when a saga is due sooner than the sweeper knows.
    pub sweep: Arc<Notify>,
    /// Notified when an account was deleted.
    pub deletions: Arc<Notify>,
}

/// The configured rules.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long seats are held for payment, in seconds.
    pub hold_seconds: u32,
    /// Owners may cancel a confirmed booking until this long before its event.
    pub cancel_deadline: TimeDelta,
    pub provider: Provider,
    /// Time between two pages of each reconciliation scan.
    pub reconcile_interval: Duration,
}

/// Lease of a row whose work continues right after the commit, so that sweepers leave it alone.
pub const INLINE_LEASE: Duration = Duration::from_secs(10);

impl FromRef<AppState> for Verifier {
    fn from_ref(state: &AppState) -> Self {
        state.verifier.clone()
    }
}
