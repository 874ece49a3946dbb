//! Settings of booking-service, from flags or the environment.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use contracts::payment::Provider;
use platform::config::ServerArgs;

/// Holds, sells and gives back seats, takes payments, and tells the platform about it.
#[derive(Clone, Debug, Parser)]
#[command(name = "booking-service", version)]
pub struct Config {
    /// Settings that every program of the platform takes.
    #[command(flatten)]
    pub service: ServerArgs,
    /// Settings of this service.
    #[command(flatten)]
    pub booking: BookingArgs,
    /// What to do; serve if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Serves until SIGTERM.
    Serve,
    /// Brings the database's schema up to date, and ends.
    Migrate,
    /// Moves the messages that became dead letters back to this service's queue, and ends.
    RedriveDeadLetters,
}

/// Settings of this service.
#[derive(Args, Clone, Debug)]
pub struct BookingArgs {
    /// The PostgreSQL database, with credentials.
    #[arg(long, env = contracts::env::DATABASE_URL, hide_env_values = true)]
    pub database_url: Option<String>,
    /// File that holds `DATABASE_URL`.
    #[arg(long, env = contracts::env::DATABASE_URL_FILE)]
    pub database_url_file: Option<PathBuf>,
    /// RabbitMQ, with credentials.
    #[arg(long, env = contracts::env::AMQP_URL, hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// File that holds `AMQP_URL`.
    #[arg(long, env = contracts::env::AMQP_URL_FILE)]
    pub amqp_url_file: Option<PathBuf>,
    /// Where user-service publishes the keys of access tokens.
    #[arg(long, env = contracts::env::JWKS_URL, default_value = "http://user-service:8080/.well-known/jwks.json")]
    pub jwks_url: String,
    /// event-service, which holds the seats.
    #[arg(long, env = contracts::env::EVENT_SERVICE_URL, default_value = "http://event-service:8080")]
    pub event_service_url: String,
    /// How long a call of event-service may take, in seconds. What it did not answer is asked again for twice as long.
    #[arg(long, env = "EVENT_TIMEOUT_SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=10))]
    pub event_timeout_seconds: u64,
    /// File with this service's Ed25519 key (PKCS#8 PEM), which signs its calls of event-service.
    #[arg(long, env = contracts::env::SERVICE_KEY_FILE)]
    pub service_key_file: Option<PathBuf>,
    /// How long seats are held for payment, in seconds.
    #[arg(long, env = "HOLD_SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub hold_seconds: u32,
    /// Until how many hours before its event a confirmed booking may be cancelled by its owner.
    #[arg(long, env = "CANCEL_DEADLINE_HOURS", default_value_t = 24)]
    pub cancel_deadline_hours: u32,
    /// The payment provider, `mock` or `stripe`; both speak Stripe's API.
    #[arg(long, env = contracts::env::PAYMENT_PROVIDER, default_value_t = Provider::Stripe)]
    pub payment_provider: Provider,
    /// Where the payment company's API is.
    #[arg(long, env = contracts::env::PAYMENT_API_URL, default_value = "https://api.stripe.com")]
    pub payment_api_url: String,
    /// The key that the payment company gave us.
    #[arg(long, env = "PAYMENT_API_KEY", hide_env_values = true)]
    pub payment_api_key: Option<String>,
    /// File that holds `PAYMENT_API_KEY`.
    #[arg(long, env = contracts::env::PAYMENT_API_KEY_FILE)]
    pub payment_api_key_file: Option<PathBuf>,
    /// The key by which browsers send cards to Stripe's own form; not a secret. Without it, only programs can pay.
    #[arg(long, env = "PAYMENT_PUBLISHABLE_KEY")]
    pub payment_publishable_key: Option<String>,
    /// The secret that the payment company signs its webhooks with.
    #[arg(long, env = "PAYMENT_WEBHOOK_SECRET", hide_env_values = true)]
    pub payment_webhook_secret: Option<String>,
    /// File that holds `PAYMENT_WEBHOOK_SECRET`.
    #[arg(long, env = contracts::env::PAYMENT_WEBHOOK_SECRET_FILE)]
    pub payment_webhook_secret_file: Option<PathBuf>,
    /// How long a call of the payment company may take, in seconds. What it did not answer is asked again for as long,
    /// under the same key; then the payment is looked up.
    #[arg(long, env = "PAYMENT_TIMEOUT_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub payment_timeout_seconds: u64,
    /// How often a page of each comparison with the neighbours (reservations, charges, messages) is done, in seconds.
    #[arg(long, env = "RECONCILE_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub reconcile_seconds: u64,
}
