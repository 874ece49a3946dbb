//! event-service: events, their seats, and who holds how many.
//!
//! - [`config`]: settings; [`App`]: the service put together; [`state`]: what handlers share
//! - [`routes`]: the URL table and its handlers; [`error`]: refusals as problems
//! - [`domain`]: the rules, pure: [`domain::event`] what an event is, [`domain::batch`] how requests are admitted,
//!   [`domain::search`] the words that events are found by
//! - [`capacity`]: group commit: one queue per event; [`store`]: every query and the one transaction
//! - [`reads`]: the cache in front of reads; [`sweeper`]: holds whose time is up; [`watch`]: gauges
//! - [`backfill`]: search keys of events that an older version wrote
//!
//! Messages go out by [`platform::outbox`], from the collection that [`store`] writes with each change.

pub mod backfill;
pub mod capacity;
pub mod config;
pub mod domain;
pub mod error;
pub mod reads;
pub mod routes;
pub mod state;
pub mod store;
pub mod sweeper;
pub mod watch;

use std::{process, sync::Arc};

use axum::Router;
use chrono::TimeDelta;
use contracts::payment::Provider;
use mongodb::Database;
use platform::{
    Clock, Lifecycle,
    auth::{AccessKeys, Cookies, ServiceKeys, Verifier},
    bus::{Bus, Publisher},
    health::{self, Readiness},
    idempotency::MongoIdempotency,
    mongo, outbox, server,
};
use tokio::sync::Notify;
use url::Url;

use self::{
    capacity::{Capacity, Rules},
    reads::Reads,
    store::Store,
};
pub use self::{
    config::{Command, Config},
    state::AppState,
};

/// The name in tokens, in logs, in RabbitMQ and in MongoDB.
const NAME: &str = "event-service";

/// The service, put together but not yet running.
pub struct App {
    state: AppState,
    access_keys: AccessKeys,
    lifecycle: Lifecycle,
    outbox_wake: Arc<Notify>,
}

/// What a service is put together from.
pub struct Parts {
    /// Where events are kept.
    pub database: Database,
    /// What verifies access tokens.
    pub access_keys: AccessKeys,
    /// What verifies booking-service's tokens.
    pub service_keys: ServiceKeys,
    /// The origin that browsers see.
    pub public_url: Url,
    /// The time. Holds go by the database's instead.
    pub clock: Clock,
    /// Rules that the operator of the platform sets.
    pub rules: Rules,
    /// The payment provider, which charges the prices.
    pub payment_provider: Provider,
}

impl App {
    /// The service that `config` describes, over that database. Fails on missing or unfit settings.
    pub fn build(config: &Config, database: Database) -> anyhow::Result<Self> {
        Ok(Self::assemble(Parts {
            database,
            access_keys: AccessKeys::remote(config.jwks_url.as_str()),
            service_keys: ServiceKeys::from_dir(NAME, config.trusted_service_keys_dir()?)?,
            public_url: config.service.public_url.clone(),
            clock: Clock::system(),
            rules: Rules {
                batch_max: config.batch_max as usize,
                change_quiet: TimeDelta::seconds(config.change_quiet_seconds.into()),
            },
            payment_provider: config.payment_provider,
        }))
    }

    /// The service made of those parts.
    pub fn assemble(parts: Parts) -> Self {
        let (lifecycle, outbox_wake) = (Lifecycle::new(), Arc::new(Notify::new()));
        let store = Store::new(parts.database);
        let reads = Reads::new(store.clone(), parts.clock.clone());
        let (wake, stop) = (outbox_wake.clone(), lifecycle.clone());
        let capacity = Capacity::new(store.clone(), reads.clone(), stop, wake, parts.rules);
        let cookies = Cookies::new(&parts.public_url);
        let verifier = Verifier::new(parts.access_keys.clone(), parts.service_keys, cookies, parts.clock.clone());
        let idempotency = MongoIdempotency::new(store.database(), parts.clock.clone());
        let payment_provider = parts.payment_provider;
        let state = AppState { store, reads, capacity, idempotency, verifier, payment_provider, clock: parts.clock };
        Self { state, access_keys: parts.access_keys, lifecycle, outbox_wake }
    }

    /// The router.
    pub fn router(&self) -> Router {
        routes::router(self.state.clone())
    }

    /// What handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// The phases of this process.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Starts to publish the outbox.
    pub fn spawn_relay(&self, bus: Bus) {
        let (store, wake) = (self.state.store.clone(), self.outbox_wake.clone());
        outbox::start_relay(&self.lifecycle, store, Publisher::new(bus), wake);
    }

    /// Starts to end expired holds and the transactions of dead replicas, to add search keys and to update the gauges.
    pub fn spawn_loops(&self) {
        let AppState { store, capacity, .. } = &self.state;
        store.start_heartbeat(&self.lifecycle);
        sweeper::start(&self.lifecycle, store, capacity);
        watch::start(&self.lifecycle, store);
        backfill::start(&self.lifecycle, store);
    }

    fn readiness(&self) -> Readiness {
        let store = self.state.store.clone();
        Readiness::default().with("mongodb", move || {
            let store = store.clone();
            async move { store.ping().await }
        })
    }

    async fn serve(self, config: &Config) -> anyhow::Result<()> {
        let bus = Bus::new(&config.amqp_url()?, NAME)?;
        self.access_keys.start_refreshing(&self.lifecycle);
        self.state.verifier.revocations().start_polling(&self.lifecycle, config.jwks_url.as_str());
        self.spawn_relay(bus);
        self.spawn_loops();
        server::serve(&config.service, self.router(), self.readiness(), self.lifecycle).await
    }
}

/// Does what the command line asks for.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let database = mongo::database(&config.mongodb_url()?, NAME, &config.mongodb_database).await?;
    let result = run_on(&config, database.clone()).await;
    mongo::close(database).await;
    result
}

async fn run_on(config: &Config, database: Database) -> anyhow::Result<()> {
    match config.command.unwrap_or_default() {
        Command::Serve => App::build(config, database)?.serve(config).await,
        Command::Migrate => {
            health::wait_until_available("MongoDB", || mongo::ping(&database)).await?;
            Store::new(database).migrate().await?;
            tracing::info!("indexes and validators are up to date");
            Ok(())
        }
        Command::CheckLedger => check_ledger(&Store::new(database)).await,
    }
}

async fn check_ledger(store: &Store) -> anyhow::Result<()> {
    let page = store.check_ledger().await?;
    for difference in &page.differences {
        println!("{}", serde_json::to_string(difference)?);
    }
    tracing::info!(events = page.checked.len(), differing = page.differences.len(), "ledger compared");
    if !page.differences.is_empty() {
        process::exit(1);
    }
    Ok(())
}
