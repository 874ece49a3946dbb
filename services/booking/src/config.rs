//! Settings of booking-service, from flags or the environment.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use contracts::payment::Provider;
use platform::config::{AmqpArgs, JwksArgs, PostgresArgs, ServerArgs};

/// Holds, sells and releases seats, takes payments, and publishes what happened.
#[derive(Clone, Debug, Parser)]
#[command(name = "booking-service", version)]
pub struct Config {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub postgres: PostgresArgs,
    #[command(flatten)]
    pub amqp: AmqpArgs,
    #[command(flatten)]
    pub jwks: JwksArgs,
    /// Base URL of event-service.
    #[arg(long, env = contracts::env::EVENT_SERVICE_URL, default_value = "http://event-service:8080")]
    pub event_service_url: String,
    /// Timeout of one call to event-service, in seconds. A call without an answer is repeated for two timeouts in all.
    #[arg(long, env = "EVENT_TIMEOUT_SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=10))]
    pub event_timeout_seconds: u64,
    /// File with this service's Ed25519 key (PKCS#8 PEM), which signs its calls to event-service.
    #[arg(long, env = contracts::env::SERVICE_KEY_FILE)]
    pub service_key_file: Option<PathBuf>,
    /// Folder with the keys that sign the codes of tickets, `<kid>.pem` (P-256, PKCS#8). The last by name signs; the
    /// others still verify.
    #[arg(long, env = contracts::env::TICKET_KEYS_DIR)]
    pub ticket_keys_dir: Option<PathBuf>,
    /// How long seats are held for payment, in seconds.
    #[arg(long, env = "HOLD_SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub hold_seconds: u32,
    /// Owners may cancel a confirmed booking until this many hours before its event.
    #[arg(long, env = "CANCEL_DEADLINE_HOURS", default_value_t = 24)]
    pub cancel_deadline_hours: u32,
    /// The payment provider, `mock` or `stripe`; both speak Stripe's API.
    #[arg(long, env = contracts::env::PAYMENT_PROVIDER, default_value_t = Provider::Stripe)]
    pub payment_provider: Provider,
    /// Base URL of the payment provider's API.
    #[arg(long, env = contracts::env::PAYMENT_API_URL, default_value = "https://api.stripe.com")]
    pub payment_api_url: String,
    /// The secret API key of the account at the payment provider.
    #[arg(long, env = "PAYMENT_API_KEY", hide_env_values = true)]
    pub payment_api_key: Option<String>,
    /// File that holds `PAYMENT_API_KEY`.
    #[arg(long, env = contracts::env::PAYMENT_API_KEY_FILE)]
    pub payment_api_key_file: Option<PathBuf>,
    /// The publishable key with which browsers load Stripe's payment form; not a secret. Without it, only programs can
    /// pay.
    #[arg(long, env = "PAYMENT_PUBLISHABLE_KEY")]
    pub payment_publishable_key: Option<String>,
    /// The secret with which the payment provider signs its webhooks.
    #[arg(long, env = "PAYMENT_WEBHOOK_SECRET", hide_env_values = true)]
    pub payment_webhook_secret: Option<String>,
    /// File that holds `PAYMENT_WEBHOOK_SECRET`.
    #[arg(long, env = contracts::env::PAYMENT_WEBHOOK_SECRET_FILE)]
    pub payment_webhook_secret_file: Option<PathBuf>,
    /// Timeout of one call to the payment provider, in seconds. A call without an answer is repeated under the same
    /// idempotency key for two timeouts in all; then the charge is fetched.
    #[arg(long, env = "PAYMENT_TIMEOUT_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub payment_timeout_seconds: u64,
    /// How often each scan of the reconciler (reservations, charges, messages) compares its next page, in seconds.
    #[arg(long, env = "RECONCILE_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub reconcile_seconds: u64,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Default, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM (the default).
    #[default]
    Serve,
    /// Bring the database schema up to date, then exit.
    Migrate,
    /// Move dead-lettered messages back to this service's queues, then exit.
    RedriveDeadLetters,
}
