//! What the handlers and loops of a replica share.

use std::sync::Arc;

use platform::config::Secret;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{clients::webhook_receiver::WebhookReceiver, store::Store};

/// Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub api_key: Secret,
    /// How long a late payment takes to settle, in seconds.
    pub late_seconds: u32,
    pub receiver: WebhookReceiver,
    /// Notified when a transaction with an event commits, so that the event does not wait for the next poll.
    pub webhooks_wake: Arc<Notify>,
    pub stopping: CancellationToken,
}
