//! notification-service: what happened to bookings and events, told to the people concerned.
//!
//! - [`config`]: settings; [`App`]: the service put together; [`state`]: what handlers share
//! - [`routes`]: the URL table, listing, marking as read, the event stream; [`error`]: their shared refusals
//! - [`consumer`]: messages from RabbitMQ in; [`domain`]: which message becomes which notification;
//!   [`texts`]: what it says, in every language; `language`: which of them somebody reads
//! - [`store`]: MongoDB: the queries, the transactions, the schema
//! - [`hub`]: who listens on this replica; [`watcher`]: what other replicas stored; [`feed`]: one open stream

pub mod config;
pub mod consumer;
pub mod domain;
mod error;
mod feed;
pub mod hub;
mod language;
pub mod routes;
pub mod state;
pub mod store;
pub mod texts;
pub mod watcher;

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
    task::{self, Schedule},
};
use url::Url;

pub use self::{
    config::{Command, Config},
    state::AppState,
};
use self::{consumer::Consumer, hub::Hub, store::Store};

/// The name in logs, in RabbitMQ and in MongoDB.
const NAME: &str = "notification-service";
/// The least number of connections to the public listener besides those of the streams.
const OTHER_CONNECTIONS: usize = 512;
/// How often an idle stream sends a comment.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often notifications that older replicas stored for deleted accounts are looked for.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(600);

/// The service, put together but not yet running.
pub struct App {
    state: AppState,
    access_keys: AccessKeys,
    bus: Bus,
    concurrency: u16,
}

/// What a service is put together from.
pub struct Parts {
    /// Where notifications are kept.
    pub database: Database,
    /// Where messages come from.
    pub bus: Bus,
    /// What verifies access tokens.
    pub access_keys: AccessKeys,
    /// The origin that browsers see.
    pub public_url: Url,
    /// The time.
    pub clock: Clock,
    /// Messages handled at the same time.
    pub concurrency: u16,
    /// The most open streams.
    pub streams_max: usize,
    /// How often an idle stream sends a comment.
    pub heartbeat: Duration,
}

impl App {
    /// The service that `config` describes, over that database. Fails on missing or default secrets.
    pub fn build(config: &Config, database: Database) -> anyhow::Result<Self> {
        Ok(Self::assemble(Parts {
            database,
            bus: Bus::new(&config.amqp_url()?, NAME)?,
            access_keys: AccessKeys::remote(config.jwks_url.as_str()),
            public_url: config.service.public_url.clone(),
            clock: Clock::system(),
            concurrency: config.consumer_concurrency,
            streams_max: config.streams_max,
            heartbeat: HEARTBEAT,
        }))
    }

    /// The service made of those parts.
    pub fn assemble(parts: Parts) -> Self {
        let lifecycle = Lifecycle::new();
        let cookies = Cookies::new(&parts.public_url);
        let verifier = Verifier::new(parts.access_keys.clone(), ServiceKeys::none(NAME), cookies, parts.clock.clone());
        let state = AppState {
            store: Store::new(parts.database),
            hub: Hub::new(parts.streams_max, lifecycle.stopping()),
            verifier,
            clock: parts.clock,
            lifecycle,
            heartbeat: parts.heartbeat,
        };
        Self { state, access_keys: parts.access_keys, bus: parts.bus, concurrency: parts.concurrency }
    }

    /// The router.
    pub fn router(&self) -> Router {
        routes::router(self.state.clone())
    }

    /// What handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Handles messages; what the consumer loop calls.
    pub fn consumer(&self) -> Consumer {
        Consumer::new(self.state.store.clone(), self.state.hub.clone(), self.state.clock.clone())
    }

    /// Starts to follow what other replicas store.
    pub fn spawn_watcher(&self) {
        let AppState { store, hub, lifecycle, .. } = &self.state;
        watcher::start(lifecycle, store, hub);
    }

    /// Starts to tell the other replicas that this one is alive, and to end what dead ones left open.
    pub fn spawn_presence(&self) {
        self.state.store.start_heartbeat(&self.state.lifecycle);
    }

    /// Starts to consume.
    pub fn spawn_consumer(&self) {
        let consumer = self.consumer();
        let handle = move |received| {
            let consumer = consumer.clone();
            async move { consumer.handle(received).await }
        };
        let lifecycle = &self.state.lifecycle;
        for queue in NOTIFICATION_QUEUES {
            bus::start_consumer(lifecycle, self.bus.clone(), queue, self.concurrency, handle.clone());
        }
        bus::start_counting_dead_letters(lifecycle, self.bus.clone(), &NOTIFICATION_QUEUES);
    }

    /// Starts to delete what older replicas store for deleted accounts.
    pub fn spawn_clean_up(&self) {
        let store = self.state.store.clone();
        task::repeat(&self.state.lifecycle, "deleted_accounts", Schedule::every(CLEAN_UP_EVERY), move || {
            let store = store.clone();
            async move { store.clean_up_deleted_accounts().await }
        });
    }

    fn readiness(&self) -> Readiness {
        let store = self.state.store.clone();
        Readiness::default().with("mongodb", move || {
            let store = store.clone();
            async move { store.ping().await }
        })
    }

    async fn serve(self, config: &Config) -> anyhow::Result<()> {
        let lifecycle = self.state.lifecycle.clone();
        self.access_keys.start_refreshing(&lifecycle);
        self.state.verifier.revocations().start_polling(&lifecycle, config.jwks_url.as_str());
        self.spawn_presence();
        self.spawn_watcher();
        self.spawn_consumer();
        self.spawn_clean_up();
        // Each stream occupies a connection, and some must be left for everything else.
        let connections = config.service.max_connections.max(config.streams_max + OTHER_CONNECTIONS);
        let service = ServerArgs { max_connections: connections, ..config.service.clone() };
        server::serve(&service, self.router(), self.readiness(), lifecycle).await
    }
}

async fn migrate(database: &Database) -> anyhow::Result<()> {
    health::wait_until_available("MongoDB", || mongo::ping(database)).await?;
    Store::new(database.clone()).migrate().await?;
    tracing::info!("indexes and validators are up to date");
    Ok(())
}

/// Does what the command line asks for.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command.unwrap_or_default() {
        Command::Serve => serve(&config).await,
        Command::Migrate => {
            let database = database(&config).await?;
            let migrated = migrate(&database).await;
            mongo::close(database).await;
            migrated
        }
        Command::RedriveDeadLetters => {
            let bus = Bus::new(&config.amqp_url()?, NAME)?;
            for queue in NOTIFICATION_QUEUES {
                let moved = bus::redrive(&bus, queue).await?;
                println!("dead letters driven back to {}: {moved}", queue.name);
            }
            Ok(())
        }
    }
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let database = database(config).await?;
    let served = App::build(config, database.clone())?.serve(config).await;
    mongo::close(database).await;
    served
}

async fn database(config: &Config) -> anyhow::Result<Database> {
    mongo::database(&config.mongodb_url()?, NAME, &config.mongodb_database).await
}
