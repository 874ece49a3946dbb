//! What the handlers and loops of a replica share.

use std::sync::Arc;

use platform::{Clock, config::Secret};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{cache::RuleCache, clients::webhook_receiver::WebhookReceiver, queue::WebhookQueue, store::Store};

/// Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub api_key: Secret,
    /// How long a late payment takes to settle, in seconds.
    pub late_seconds: u32,
    pub rules: RuleCache,
    pub receiver: WebhookReceiver,
    /// Takes events when the transaction that wrote them has committed.
    pub webhooks: WebhookQueue,
    /// Notified when a payment that settles late is committed.
    pub settlement: Arc<Notify>,
    /// The process's clock. What replicas have to agree on takes its time from the database.
    pub clock: Clock,
    pub stopping: CancellationToken,
}
