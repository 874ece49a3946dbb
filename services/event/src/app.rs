//! Builds the service from its settings, and does what the command line asks for.

use std::{process, sync::Arc};

use anyhow::Context;
use axum::Router;
use chrono::TimeDelta;
use contracts::message::EVENT_USER_QUEUE;
use mongodb::Database;
use platform::{
    Clock, Lifecycle,
    auth::{AccessKeys, Cookies, ServiceKeys, Verifier},
    bus::{self, Bus},
    health::{self, Readiness},
    idempotency::MongoIdempotency,
    mongo,
    outbox::Handoff,
    server,
};
use url::Url;

use crate::{
    cache::EventCache,
    config::{Command, Config},
    loops,
    queue::{OperationQueue, QueueSettings},
    routes,
    state::AppState,
    store::Store,
};

/// The name in tokens, in logs, in RabbitMQ and in MongoDB.
const NAME: &str = "event-service";

/// The service, built but not yet running.
pub struct App {
    pub state: AppState,
    access_keys: AccessKeys,
    bus: Bus,
    jwks_url: Url,
    pub lifecycle: Lifecycle,
}

impl App {
    /// Builds the service; connects to nothing. Fails on missing or invalid settings.
    pub async fn build(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let access_keys = AccessKeys::remote(config.jwks.jwks_url.as_str());
        Self::with_access_keys(config, clock, access_keys).await
    }

    /// [`App::build`] with access keys that need no user-service.
    pub async fn with_access_keys(config: &Config, clock: Clock, access_keys: AccessKeys) -> anyhow::Result<Self> {
        let trusted = config.trusted_service_keys_dir.as_deref().context("set TRUSTED_SERVICE_KEYS_DIR")?;
        let service_keys = ServiceKeys::from_dir(NAME, trusted)?;
        let bus = Bus::new(&config.amqp.url()?, NAME)?;
        let (lifecycle, outbox) = (Lifecycle::new(), Handoff::default());
        let store = Store::new(database(config).await?);
        let cache = EventCache::new(store.clone(), clock.clone(), routes::RENDER);
        let settings = QueueSettings {
            batch_max: config.batch_max as usize,
            quiet_period: TimeDelta::seconds(config.change_quiet_seconds.into()),
        };
        let queue = OperationQueue::new(store.clone(), cache.clone(), lifecycle.clone(), outbox.clone(), settings);
        let cookies = Cookies::new(&config.server.public_url);
        let state = AppState {
            idempotency: MongoIdempotency::new(store.database(), clock.clone()),
            verifier: Verifier::new(access_keys.clone(), service_keys, cookies, clock.clone()),
            payment_provider: config.payment_provider,
            store,
            cache,
            queue,
            outbox,
            deletions: Arc::default(),
            clock,
        };
        Ok(Self { state, access_keys, bus, jwks_url: config.jwks.jwks_url.clone(), lifecycle })
    }

    pub fn router(&self) -> Router {
        routes::router(self.state.clone())
    }

    /// Ready while MongoDB answers.
    pub fn readiness(&self) -> Readiness {
        let store = self.state.store.clone();
        Readiness::default().with("mongodb", move || {
            let store = store.clone();
            async move { store.ping().await }
        })
    }

    /// Starts every loop.
    pub fn spawn(&self) {
        self.access_keys.start_refreshing(&self.lifecycle);
        self.state.verifier.revocations().start_polling(&self.lifecycle, self.jwks_url.as_str());
        loops::start(&self.lifecycle, &self.state, &self.bus);
    }
}

/// Does what the command line asks for.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command.unwrap_or_default() {
        Command::Serve => serve(&config).await,
        Command::Migrate => with_store(&config, migrate).await,
        Command::CheckLedger => with_store(&config, check_ledger).await,
        Command::RedriveDeadLetters => {
            let moved = bus::redrive(&Bus::new(&config.amqp.url()?, NAME)?, EVENT_USER_QUEUE).await?;
            tracing::info!(queue = EVENT_USER_QUEUE.name, moved, "dead letters redriven");
            Ok(())
        }
    }
}

async fn with_store(config: &Config, command: impl AsyncFnOnce(&Store) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let database = database(config).await?;
    let result = command(&Store::new(database.clone())).await;
    mongo::close(database).await;
    result
}

async fn database(config: &Config) -> anyhow::Result<Database> {
    mongo::database(&config.mongo.url()?, NAME, &config.mongodb_database).await
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let app = App::build(config, Clock::system()).await?;
    app.spawn();
    let database = app.state.store.database().clone();
    let result = server::serve(&config.server, app.router(), app.readiness(), app.lifecycle).await;
    mongo::close(database).await;
    result
}

async fn migrate(store: &Store) -> anyhow::Result<()> {
    health::wait_until_available("MongoDB", || store.ping()).await?;
    store.migrate().await?;
    tracing::info!("indexes and validators are up to date");
    Ok(())
}

/// Prints the mismatches, and exits with 1 if there are any.
async fn check_ledger(store: &Store) -> anyhow::Result<()> {
    let page = store.check_ledger().await?;
    for mismatch in &page.mismatches {
        println!("{}", serde_json::to_string(mismatch)?);
    }
    tracing::info!(events = page.checked.len(), differing = page.mismatches.len(), "ledger compared");
    if !page.mismatches.is_empty() {
        process::exit(1);
    }
    Ok(())
}
