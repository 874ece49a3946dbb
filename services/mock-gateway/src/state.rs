//! What every handler and loop of a replica shares.

use std::{sync::Arc, time::Duration};

use platform::{Clock, client, config::Secret, postgres};
use reqwest::Client;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{config::Settings, store::Store};

/// The longest a receiver of webhooks may take.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) api_key: Secret,
    pub(crate) late_seconds: u32,
    pub(crate) webhook_url: Url,
    pub(crate) webhook_secret: Secret,
    pub(crate) client: Client,
    /// Woken when an event was committed, so that it does not wait for the next look.
    pub(crate) events_waiting: Arc<Notify>,
    pub(crate) stopping: CancellationToken,
}

impl AppState {
    pub(crate) fn build(settings: Settings, clock: Clock, stopping: CancellationToken) -> anyhow::Result<Self> {
        let pool = postgres::pool(&settings.database_url, "mock-gateway", settings.database_connections)?;
        Ok(Self {
            store: Store::new(pool),
            clock,
            api_key: settings.api_key,
            late_seconds: settings.late_seconds,
            webhook_url: settings.webhook_url,
            webhook_secret: settings.webhook_secret,
            client: client::build(WEBHOOK_TIMEOUT),
            events_waiting: Arc::new(Notify::new()),
            stopping,
        })
    }
}
