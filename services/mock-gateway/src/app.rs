//! Builds the service from its settings, and does what the command line asks for.

use std::{sync::Arc, time::Duration};

use axum::Router;
use platform::{Clock, Lifecycle, config::ServerArgs, health::Readiness, postgres, server};

use crate::{
    cache::RuleCache,
    clients::webhook_receiver::WebhookReceiver,
    config::{Command, Config},
    loops,
    queue::WebhookQueue,
    routes,
    state::AppState,
    store::Store,
};

const NAME: &str = "mock-gateway";
/// Longer than any injected delay: a request without an answer stays open for two minutes.
const MIN_REQUEST_TIMEOUT: Duration = Duration::from_secs(150);

/// The service, built but not yet running.
pub struct App {
    pub state: AppState,
    pub lifecycle: Lifecycle,
}

impl App {
    /// Builds the service; connects to nothing. Fails on missing or invalid settings.
    pub fn build(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let pool = postgres::pool(&config.postgres.url()?, NAME, config.database_connections)?;
        let lifecycle = Lifecycle::new();
        let state = AppState {
            store: Store::new(pool),
            api_key: config.api_key()?,
            late_seconds: config.late_seconds,
            rules: RuleCache::default(),
            receiver: WebhookReceiver::new(config.webhook_url()?, config.webhook_secret()?, clock.clone()),
            webhooks: WebhookQueue::default(),
            settlement: Arc::default(),
            clock,
            stopping: lifecycle.stopping(),
        };
        Ok(Self { state, lifecycle })
    }

    pub fn router(&self) -> Router {
        routes::router(self.state.clone())
    }

    /// Ready while PostgreSQL answers and has the schema.
    pub fn readiness(&self) -> Readiness {
        let store = self.state.store.clone();
        Readiness::default().with("postgres", move || {
            let store = store.clone();
            async move { store.next_settlement().await.map(drop).map_err(|error| error.to_string()) }
        })
    }

    /// Starts every loop.
    pub fn spawn(&self) {
        loops::start(&self.lifecycle, &self.state);
    }
}

/// Does what the command line asks for.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command.unwrap_or_default() {
        Command::Serve => {
            let app = App::build(&config, Clock::system())?;
            app.spawn();
            let request_timeout_seconds = config.server.request_timeout_seconds.max(MIN_REQUEST_TIMEOUT.as_secs());
            let args = ServerArgs { request_timeout_seconds, ..config.server };
            server::serve(&args, app.router(), app.readiness(), app.lifecycle).await
        }
        Command::Migrate => postgres::migrate(&config.postgres.url()?, "mock-gateway migrate", &sqlx::migrate!()).await,
    }
}
