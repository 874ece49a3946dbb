//! Builds the service from its settings, and does what the command line asks for.

use std::time::Duration;

use axum::Router;
use contracts::message::NOTIFICATION_QUEUES;
use mongodb::Database;
use platform::{
    Clock, Lifecycle,
    auth::{AccessKeys, Cookies, ServiceKeys, Verifier},
    bus::{self, Bus},
    config::ServerArgs,
    health::{self, Readiness},
    mongo, server,
};
use url::Url;

use crate::{
    config::{Command, Config},
    loops, routes,
    state::AppState,
    store::Store,
    streams::Hub,
};

/// The name in logs, in RabbitMQ and in MongoDB.
const NAME: &str = "notification-service";
/// Connections to the public listener that streams leave free.
const CONNECTIONS_BESIDES_STREAMS: usize = 512;
/// How often an idle stream sends a comment.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// The service, built but not yet running.
pub struct App {
    pub state: AppState,
    access_keys: AccessKeys,
    bus: Bus,
    jwks_url: Url,
    consumer_concurrency: u16,
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
        let lifecycle = Lifecycle::new();
        let cookies = Cookies::new(&config.server.public_url);
        let state = AppState {
            store: Store::new(database(config).await?),
            hub: Hub::new(config.streams_max, lifecycle.stopping()),
            verifier: Verifier::new(access_keys.clone(), ServiceKeys::none(NAME), cookies, clock.clone()),
            clock,
            lifecycle: lifecycle.clone(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
        };
        Ok(Self {
            state,
            access_keys,
            bus: Bus::new(&config.amqp.url()?, NAME)?,
            jwks_url: config.jwks.jwks_url.clone(),
            consumer_concurrency: config.consumer_concurrency,
            lifecycle,
        })
    }

    pub fn router(&self) -> Router {
        routes::router(self.state.clone())
    }

    /// Ready while MongoDB answers: without RabbitMQ, stored notifications can still be read.
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
        loops::start(&self.lifecycle, &self.state, &self.bus, self.consumer_concurrency);
    }
}

/// Does what the command line asks for.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command.unwrap_or_default() {
        Command::Serve => serve(&config).await,
        Command::Migrate => {
            let database = database(&config).await?;
            let result = migrate(&Store::new(database.clone())).await;
            mongo::close(database).await;
            result
        }
        Command::RedriveDeadLetters => redrive_dead_letters(&config).await,
    }
}

async fn database(config: &Config) -> anyhow::Result<Database> {
    mongo::database(&config.mongo.url()?, NAME, &config.mongodb_database).await
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let app = App::build(config, Clock::system()).await?;
    app.spawn();
    // Each stream occupies a connection, and other requests need some too.
    let max_connections = config.server.max_connections.max(config.streams_max + CONNECTIONS_BESIDES_STREAMS);
    let args = ServerArgs { max_connections, ..config.server.clone() };
    let database = app.state.store.database().clone();
    let result = server::serve(&args, app.router(), app.readiness(), app.lifecycle).await;
    mongo::close(database).await;
    result
}

async fn migrate(store: &Store) -> anyhow::Result<()> {
    health::wait_until_available("MongoDB", || store.ping()).await?;
    store.migrate().await?;
    tracing::info!("indexes and validators are up to date");
    Ok(())
}

async fn redrive_dead_letters(config: &Config) -> anyhow::Result<()> {
    let bus = Bus::new(&config.amqp.url()?, NAME)?;
    for queue in NOTIFICATION_QUEUES {
        let moved = bus::redrive(&bus, queue).await?;
        tracing::info!(queue = queue.name, moved, "dead letters redriven");
    }
    Ok(())
}
