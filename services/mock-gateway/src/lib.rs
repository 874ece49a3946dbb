//! The payment company of development and tests: the part of Stripe's API that booking-service uses, with a durable
//! ledger, signed webhooks, and misbehaviour on demand. Several replicas share one database.
//!
//! - [`config`]: settings; `state`: what every handler gets
//! - [`routes`]: the URL table and the handlers; `call`: who calls, and how form bodies are read
//! - `domain`: payment methods, statuses, parameters, rules of misbehaviour; pure
//! - `execute`: one request as Stripe runs it: misbehaviour, idempotency, one transaction, the answer
//! - `processor`: what a command does inside that transaction; `settlement`: payments that settle later
//! - `webhooks`: the outbox of events, signed and sent until they are taken
//! - `store`: every query; `objects`: the JSON shapes of Stripe; [`error`]: its refusals

mod call;
pub mod config;
mod domain;
pub mod error;
mod execute;
mod objects;
mod processor;
pub mod routes;
mod settlement;
mod state;
mod store;
mod webhooks;

use std::time::Duration;

use platform::{Clock, Lifecycle, config::ServerArgs, health::Readiness, postgres, server, task::supervise};
use sqlx::migrate::Migrator;

use self::config::{Command, Config, Settings};
pub use self::state::AppState;

/// The schema, applied by `mock-gateway migrate`.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// The longest that a request may take here: one that is never answered is held for two minutes.
const LONGEST_REQUEST: Duration = Duration::from_secs(150);

/// Does what the command line says, until it is done or stopped.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command.unwrap_or(Command::Serve) {
        Command::Serve => App::build(config.settings()?, Clock::system())?.serve(&config.service).await,
        Command::Migrate => postgres::migrate(&config.database_url()?, "mock-gateway migrate", &MIGRATIONS).await,
    }
}

/// One replica: its state and its background work.
pub struct App {
    state: AppState,
    lifecycle: Lifecycle,
}

impl App {
    /// A replica that connects to its database at first use.
    pub fn build(settings: Settings, clock: Clock) -> anyhow::Result<Self> {
        let lifecycle = Lifecycle::new();
        let state = AppState::build(settings, clock, lifecycle.stopping())?;
        Ok(Self { state, lifecycle })
    }

    /// The URL table, ready to be served.
    pub fn router(&self) -> axum::Router {
        routes::router(self.state.clone())
    }

    /// Ends background work and requests that are held open, when it is stopped.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Starts sending webhooks and settling late payments.
    pub fn start_loops(&self) {
        let state = self.state.clone();
        supervise(&self.lifecycle, "webhooks", move |progress| webhooks::deliver(state.clone(), progress));
        settlement::start(&self.lifecycle, &self.state);
    }

    /// Serves until SIGTERM.
    pub async fn serve(self, args: &ServerArgs) -> anyhow::Result<()> {
        self.start_loops();
        let store = self.state.store.clone();
        // A query of a table: a database without the schema is of no use.
        let readiness = Readiness::default().with("postgres", move || {
            let store = store.clone();
            async move { store.any_intent_due().await.map(drop).map_err(|error| error.to_string()) }
        });
        let longest = args.request_timeout_seconds.max(LONGEST_REQUEST.as_secs());
        let args = ServerArgs { request_timeout_seconds: longest, ..args.clone() };
        server::serve(&args, self.router(), readiness, self.lifecycle).await
    }
}
