//! Builds the service from its settings, and does what the command line asks for.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use chrono::TimeDelta;
use contracts::message::BOOKING_QUEUES;
use platform::{
    Clock, Lifecycle,
    auth::{AccessKeys, Cookies, ServiceKeys, ServiceTokenSigner, Verifier},
    bus::{self, Bus},
    client,
    config::secret,
    health::Readiness,
    idempotency::PgIdempotency,
    postgres, server,
};
use reqwest::Client;
use url::Url;

use crate::{
    clients::{event_service::EventClient, gateway::stripe::Stripe},
    config::{Command, Config},
    crypto::ticket_keys::TicketKeys,
    loops, routes,
    state::{AppState, Policy},
    store::Store,
};

/// The name in logs, tokens and connections.
const NAME: &str = "booking-service";
/// Connections to PostgreSQL.
const POOL_SIZE: u32 = 12;
/// Upper bound for a call to another service; each client sets a shorter timeout of its own.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The service, built but not yet running.
pub struct App {
    pub state: AppState,
    bus: Bus,
    access_keys: AccessKeys,
    jwks_url: Url,
    pub lifecycle: Lifecycle,
}

impl App {
    /// Builds the service; connects to nothing. Fails on missing or invalid settings.
    pub fn build(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let pool = postgres::pool(&config.postgres.url()?, NAME, POOL_SIZE)?;
        // One HTTP client for all: each one loads the system's root certificates, which is slow.
        let http = client::build(CALL_TIMEOUT);
        let access_keys = AccessKeys::remote_with_client(http.clone(), config.jwks.jwks_url.as_str());
        let cookies = Cookies::new(&config.server.public_url);
        let verifier = Verifier::new(access_keys.clone(), ServiceKeys::none(NAME), cookies, clock.clone());
        let key_file = config.service_key_file.as_deref().context("set SERVICE_KEY_FILE")?;
        let signer = ServiceTokenSigner::from_file(NAME, key_file, clock.clone())?;
        let ticket_keys_dir = config.ticket_keys_dir.as_deref().context("set TICKET_KEYS_DIR")?;
        let event_timeout = Duration::from_secs(config.event_timeout_seconds);
        let state = AppState {
            idempotency: PgIdempotency::new(pool.clone()),
            store: Store::new(pool),
            events: EventClient::new(http.clone(), &config.event_service_url, signer, event_timeout),
            gateway: Arc::new(payment_gateway(config, http)?),
            publishable_key: config.payment_publishable_key.as_deref().map(Into::into),
            verifier,
            ticket_keys: TicketKeys::from_dir(ticket_keys_dir, clock.clone())?,
            clock,
            policy: Policy {
                hold_seconds: config.hold_seconds,
                cancel_deadline: TimeDelta::hours(config.cancel_deadline_hours.into()),
                provider: config.payment_provider,
                reconcile_interval: Duration::from_secs(config.reconcile_seconds),
            },
            sweep: Arc::default(),
            deletions: Arc::default(),
        };
        let bus = Bus::new(&config.amqp.url()?, NAME)?;
        let lifecycle = Lifecycle::new();
        Ok(Self { state, bus, access_keys, jwks_url: config.jwks.jwks_url.clone(), lifecycle })
    }

    pub fn router(&self) -> Router {
        routes::router(self.state.clone())
    }

    /// Ready while PostgreSQL answers: without the other services, bookings are stored and finished later.
    pub fn readiness(&self) -> Readiness {
        let store = self.state.store.clone();
        Readiness::default().with("postgres", move || {
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
        Command::Serve => {
            let app = App::build(&config, Clock::system())?;
            app.spawn();
            server::serve(&config.server, app.router(), app.readiness(), app.lifecycle).await
        }
        Command::Migrate => {
            postgres::migrate(&config.postgres.url()?, "booking-service migrate", &sqlx::migrate!()).await
        }
        Command::RedriveDeadLetters => {
            let bus = Bus::new(&config.amqp.url()?, NAME)?;
            for queue in BOOKING_QUEUES {
                let moved = bus::redrive(&bus, queue).await?;
                tracing::info!(queue = queue.name, moved, "dead letters redriven");
            }
            Ok(())
        }
    }
}

fn payment_gateway(config: &Config, http: Client) -> anyhow::Result<Stripe> {
    let api_key = secret("PAYMENT_API_KEY", config.payment_api_key.as_deref(), config.payment_api_key_file.as_ref())?;
    let webhook_secret = secret(
        "PAYMENT_WEBHOOK_SECRET",
        config.payment_webhook_secret.as_deref(),
        config.payment_webhook_secret_file.as_ref(),
    )?;
    let timeout = Duration::from_secs(config.payment_timeout_seconds);
    Ok(Stripe::new(http, &config.payment_api_url, config.payment_provider, api_key, webhook_secret, timeout))
}
