//! booking-service: bookings and payments that are never lost, never charged twice, and never sold without a seat.
//!
//! - [`config`]: settings; [`state`]: what handlers and loops share; [`routes`]: the URL table and the handlers
//! - [`domain`]: states, transitions, what may be done when; pure
//! - [`flow`]: the steps of booking, paying, cancelling; each effect in one place, each resumable
//! - [`store`]: every query, compare-and-set
//! - [`event_client`]: event-service over REST; [`gateway`]: the payment company
//! - [`sweeper`]: finishes what was interrupted; [`reconciler`]: compares with the neighbours; [`outbox`]: messages out; [`consumer`]: messages in
//! - [`backfill`]: search keys of rows that an older version wrote
//! - [`error`]: from the domain's refusals to problems

pub mod backfill;
pub mod config;
pub mod consumer;
pub mod domain;
pub mod error;
pub mod event_client;
pub mod flow;
pub mod gateway;
pub mod outbox;
pub mod reconciler;
pub mod routes;
pub mod state;
pub mod store;
pub mod sweeper;

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
    config::{Secret, secret, server_url},
    health::Readiness,
    idempotency::PgIdempotency,
    postgres,
};
use reqwest::Client;

use crate::{
    config::{BookingArgs, Command, Config},
    event_client::EventClient,
    gateway::stripe::Stripe,
    state::{AppState, Policy},
    store::Store,
};

/// The name in logs, tokens and connections.
pub const SERVICE: &str = "booking-service";
/// Connections to PostgreSQL.
const POOL_SIZE: u32 = 12;
/// Messages of each queue handled at once.
const CONSUMER_CONCURRENCY: u16 = 4;
/// The longest that any call of a neighbour may take; each has a shorter time of its own.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// The service, ready to be served.
pub struct App {
    state: AppState,
    bus: Bus,
    access_keys: AccessKeys,
    jwks_url: String,
}

impl App {
    /// The service of these settings. Connects nowhere yet; fails on missing or unfit settings.
    pub fn build(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let args = &config.booking;
        let pool = postgres::pool(&database_url(args)?, SERVICE, POOL_SIZE)?;
        // One for all neighbours: each client loads the certificates of all authorities, which takes its time.
        let http = client::build(LONGEST_CALL);
        let access_keys = AccessKeys::remote_with_client(http.clone(), &args.jwks_url);
        let cookies = Cookies::new(&config.service.public_url);
        let verifier = Verifier::new(access_keys.clone(), ServiceKeys::none(SERVICE), cookies, clock.clone());
        let key_file = args.service_key_file.as_deref().context("set SERVICE_KEY_FILE")?;
        let signer = ServiceTokenSigner::from_file(SERVICE, key_file, clock.clone())?;
        let event_timeout = Duration::from_secs(args.event_timeout_seconds);
        let state = AppState {
            idempotency: PgIdempotency::new(pool.clone()),
            store: Store::new(pool),
            events: EventClient::new(http.clone(), &args.event_service_url, signer, event_timeout),
            gateway: Arc::new(payment_gateway(args, http)?),
            publishable_key: args.payment_publishable_key.as_deref().map(Into::into),
            verifier,
            clock,
            policy: Policy {
                hold_seconds: args.hold_seconds,
                cancel_deadline: TimeDelta::hours(args.cancel_deadline_hours.into()),
                provider: args.payment_provider,
                reconcile_interval: Duration::from_secs(args.reconcile_seconds),
            },
            relay_wake: Arc::default(),
            payments_wake: Arc::default(),
        };
        Ok(Self { state, bus: Bus::new(&amqp_url(args)?, SERVICE)?, access_keys, jwks_url: args.jwks_url.clone() })
    }

    /// What handlers and loops share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Every path that this service answers.
    pub fn router(&self) -> Router {
        routes::router(self.state.clone())
    }

    /// Ready as soon as PostgreSQL answers: whatever else is away, bookings are kept until it is back.
    pub fn readiness(&self) -> Readiness {
        let store = self.state.store.clone();
        Readiness::default().with("postgres", move || {
            let store = store.clone();
            async move { store.ping().await }
        })
    }

    /// Starts the loops: sweepers, reconciler, relay, consumers, keys. They end with `lifecycle`.
    pub fn start_background(&self, lifecycle: &Lifecycle) {
        sweeper::start(&self.state, lifecycle);
        backfill::start(lifecycle, &self.state.store);
        reconciler::start(&self.state, lifecycle);
        outbox::start(&self.state, &self.bus, lifecycle);
        self.access_keys.start_refreshing(lifecycle);
        self.state.verifier.revocations().start_polling(lifecycle, &self.jwks_url);
        bus::start_counting_dead_letters(lifecycle, self.bus.clone(), &BOOKING_QUEUES);
        for queue in BOOKING_QUEUES {
            let state = self.state.clone();
            bus::start_consumer(lifecycle, self.bus.clone(), queue, CONSUMER_CONCURRENCY, move |received| {
                let state = state.clone();
                async move { consumer::handle(&state, received).await }
            });
        }
    }
}

/// Does what the command line says, until it is done or SIGTERM comes.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(&config).await,
        Command::Migrate => postgres::migrate(&database_url(&config.booking)?, SERVICE, &sqlx::migrate!()).await,
        Command::RedriveDeadLetters => {
            let bus = Bus::new(&amqp_url(&config.booking)?, SERVICE)?;
            for queue in BOOKING_QUEUES {
                let moved = bus::redrive(&bus, queue).await?;
                tracing::info!(queue = queue.name, moved, "dead letters driven back");
            }
            Ok(())
        }
    }
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let app = App::build(config, Clock::system())?;
    let lifecycle = Lifecycle::new();
    app.start_background(&lifecycle);
    platform::server::serve(&config.service, app.router(), app.readiness(), lifecycle).await
}

fn database_url(args: &BookingArgs) -> anyhow::Result<Secret> {
    server_url("DATABASE_URL", args.database_url.as_deref(), args.database_url_file.as_ref())
}

fn amqp_url(args: &BookingArgs) -> anyhow::Result<Secret> {
    server_url("AMQP_URL", args.amqp_url.as_deref(), args.amqp_url_file.as_ref())
}

fn payment_gateway(args: &BookingArgs, http: Client) -> anyhow::Result<Stripe> {
    let api_key = secret("PAYMENT_API_KEY", args.payment_api_key.as_deref(), args.payment_api_key_file.as_ref())?;
    let webhook_secret = secret(
        "PAYMENT_WEBHOOK_SECRET",
        args.payment_webhook_secret.as_deref(),
        args.payment_webhook_secret_file.as_ref(),
    )?;
    let timeout = Duration::from_secs(args.payment_timeout_seconds);
    Ok(Stripe::new(http, &args.payment_api_url, args.payment_provider, api_key, webhook_secret, timeout))
}
