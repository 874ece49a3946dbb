//! Builds the service from its settings, and does what the command line asks for.

use anyhow::Context;
use axum::Router;
use platform::{
    Clock, Lifecycle,
    auth::{Cookies, ServiceKeys, Verifier},
    bus::Bus,
    health::Readiness,
    idempotency::PgIdempotency,
    outbox::Handoff,
    postgres, server,
};

use crate::{
    attempt_limiter::AttemptLimiter,
    clients::event_service::EventClient,
    config::{Command, Config},
    crypto::{hashing::PasswordHasher, signing::SigningKeys, tokens::TokenKey},
    loops::{self, first_admin::FirstAdmin},
    routes,
    state::{AppState, Policy},
    store::Store,
};

/// The name in logs, tokens and connections.
const NAME: &str = "user-service";
/// Connections to PostgreSQL.
const POOL_SIZE: u32 = 10;

/// The service, built but not yet running.
pub struct App {
    pub state: AppState,
    bus: Bus,
    first_admin: Option<FirstAdmin>,
    pub lifecycle: Lifecycle,
}

impl App {
    /// Builds the service; connects to nothing. Fails on missing or invalid settings.
    pub fn build(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let pool = postgres::pool(&config.postgres.url()?, NAME, POOL_SIZE)?;
        let keys_dir = config.signing_keys_dir.as_deref().context("set SIGNING_KEYS_DIR")?;
        let signing = SigningKeys::from_dir(keys_dir, clock.clone())?;
        let cookies = Cookies::new(&config.server.public_url);
        let state = AppState {
            store: Store::new(pool.clone()),
            idempotency: PgIdempotency::new(pool),
            hasher: PasswordHasher::new(config.password_hash_workers),
            attempts: AttemptLimiter::default(),
            verifier: Verifier::new(signing.public_keys(), ServiceKeys::none(NAME), cookies, clock.clone()),
            signing,
            token_key: TokenKey::new(&config.refresh_token_key()?),
            events: EventClient::new(config.event_service_url.as_ref().context("set EVENT_SERVICE_URL")?),
            outbox: Handoff::default(),
            clock,
            policy: Policy {
                organizer_approval: config.organizer_approval,
                access_token_seconds: config.access_token_seconds,
                refresh_token_days: config.refresh_token_days,
                registrations_per_address: config.registrations_per_address,
            },
        };
        let bus = Bus::new(&config.amqp.url()?, NAME)?;
        let first_admin = config.first_admin()?;
        let first_admin =
            first_admin.map(|(email, password)| FirstAdmin::parse(email, password.expose())).transpose()?;
        Ok(Self { state, bus, first_admin, lifecycle: Lifecycle::new() })
    }

    pub fn router(&self) -> Router {
        routes::router(self.state.clone())
    }

    /// Ready while PostgreSQL answers: without RabbitMQ, messages wait in the outbox.
    pub fn readiness(&self) -> Readiness {
        let store = self.state.store.clone();
        Readiness::default().with("postgres", move || {
            let store = store.clone();
            async move { store.ping().await }
        })
    }

    /// Starts every loop.
    pub fn spawn(&self) {
        loops::start(&self.lifecycle, &self.state, &self.bus, self.first_admin.as_ref());
    }
}

/// Does what the command line asks for.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command.unwrap_or_default() {
        Command::Serve => {
            let app = App::build(&config, Clock::system())?;
            app.spawn();
            server::serve(&config.server, app.router(), app.readiness(), app.lifecycle).await
        }
        Command::Migrate => postgres::migrate(&config.postgres.url()?, "user-service migrate", &sqlx::migrate!()).await,
        Command::RepublishDeletions { since } => {
            let store = Store::new(postgres::pool(&config.postgres.url()?, NAME, 1)?);
            let messages = store.republish_deletions(since).await?;
            tracing::info!(messages, "the messages about deleted accounts are in the outbox");
            Ok(())
        }
    }
}
