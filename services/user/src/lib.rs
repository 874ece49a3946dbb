//! user-service: who people are, and the tokens that say so to the other services.
//!
//! - [`config`]: settings; [`state`]: what handlers share
//! - [`routes`]: the URL table and its handlers; [`error`]: refusals as problems
//! - [`domain`]: what an e-mail address, a name and a password are, and the numbers of the rules
//! - [`store`]: every query
//! - [`hashing`]: argon2id in a bounded pool that reuses its memory
//! - [`signing`]: access tokens and the keys that sign them; [`tokens`]: the opaque tokens that are stored as hashes
//! - [`events`]: event-service, asked at request time
//! - [`background`]: the first admin, the key folder watched, old rows removed; [`outbox`]: messages out

pub mod background;
pub mod config;
pub mod domain;
pub mod error;
pub mod events;
pub mod hashing;
pub mod outbox;
pub mod routes;
pub mod signing;
pub mod state;
pub mod store;
pub mod throttle;
pub mod tokens;

use axum::Router;
use platform::{Clock, Lifecycle, bus::Bus, config::ServerArgs, health::Readiness, postgres, server};

use crate::{
    background::FirstAdmin,
    config::{Arguments, Command, Config},
    state::AppState,
};

/// Connections to PostgreSQL of one process.
const MAX_CONNECTIONS: u32 = 10;

/// Does what the command line asks for.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command.unwrap_or_default() {
        Command::Serve => App::build(&arguments.config, Clock::system())?.serve().await,
        Command::Migrate => migrate(&arguments.config).await,
    }
}

/// The service, put together and not yet listening.
pub struct App {
    service: ServerArgs,
    state: AppState,
    bus: Bus,
    first_admin: Option<FirstAdmin>,
}

impl App {
    /// Puts the service together. Fails on a setting that is missing or unfit; the database and RabbitMQ may still be away.
    pub fn build(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let pool = postgres::pool(&config.database_url()?, "user-service", MAX_CONNECTIONS)?;
        let state = AppState::new(config, pool, clock)?;
        let bus = Bus::new(&config.amqp_url()?, "user-service")?;
        Ok(Self { service: config.service.clone(), state, bus, first_admin: FirstAdmin::from_config(config)? })
    }

    /// What the handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// The URL table, ready to be served.
    pub fn router(&self) -> Router {
        routes::router(self.state.clone())
    }

    /// Listens until SIGTERM. Ready as soon as PostgreSQL answers: while RabbitMQ is away, messages wait in the outbox.
    pub async fn serve(self) -> anyhow::Result<()> {
        let lifecycle = Lifecycle::new();
        let pool = self.state.store.pool().clone();
        let readiness = Readiness::default().with("postgres", move || {
            let pool = pool.clone();
            async move { postgres::ping(&pool).await }
        });
        let router = self.router();
        outbox::start(&self.state, &self.bus, &lifecycle);
        background::start(&lifecycle, self.state, self.first_admin);
        server::serve(&self.service, router, readiness, lifecycle).await
    }
}

/// Brings the database's schema up to date.
pub async fn migrate(config: &Config) -> anyhow::Result<()> {
    postgres::migrate(&config.database_url()?, "user-service migrate", &sqlx::migrate!()).await
}
