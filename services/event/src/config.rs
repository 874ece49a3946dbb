//! Settings of event-service.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};
use contracts::payment::Provider;
use platform::config::{Secret, ServerArgs, server_url};
use url::Url;

/// Keeps events and their seats: search, capacity, reservations.
#[derive(Clone, Parser)]
#[command(name = "event-service", version)]
pub struct Config {
    /// What to do; `serve` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of every program.
    #[command(flatten)]
    pub service: ServerArgs,
    /// MongoDB (a replica set) with credentials, such as `mongodb://user:…@mongodb/?replicaSet=rs0&authSource=admin`.
    #[arg(long, env = contracts::env::MONGODB_URL, hide_env_values = true, global = true)]
    pub mongodb_url: Option<String>,
    /// A file that holds `MONGODB_URL`.
    #[arg(long, env = contracts::env::MONGODB_URL_FILE, global = true)]
    pub mongodb_url_file: Option<PathBuf>,
    /// The database.
    #[arg(long, env = contracts::env::MONGODB_DATABASE, default_value = "events", global = true)]
    pub mongodb_database: String,
    /// RabbitMQ with credentials, such as `amqp://user:…@rabbitmq/%2f`.
    #[arg(long, env = contracts::env::AMQP_URL, hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// A file that holds `AMQP_URL`.
    #[arg(long, env = contracts::env::AMQP_URL_FILE)]
    pub amqp_url_file: Option<PathBuf>,
    /// Where user-service publishes the keys that verify access tokens.
    #[arg(long, env = contracts::env::JWKS_URL, default_value = "http://user-service:8080/.well-known/jwks.json")]
    pub jwks_url: Url,
    /// Folder of the public keys of the services that may take seats: `<service>.pem`, Ed25519 in SPKI; in practice
    /// `booking-service.pem`.
    #[arg(long, env = contracts::env::TRUSTED_SERVICE_KEYS_DIR)]
    pub trusted_service_keys_dir: Option<PathBuf>,
    /// The most requests of one event that are committed together; 1 commits them one by one.
    #[arg(long, env = "BATCH_MAX", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub batch_max: u32,
    /// How long an event must stay unchanged before its holders are told what changed, in seconds. They are told after
    /// ten times as long at the latest. Cancellations do not wait.
    #[arg(
        long,
        env = "CHANGE_QUIET_SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(0..=3_600)
    )]
    pub change_quiet_seconds: u32,
    /// The payment provider, `mock` or `stripe`. Prices that it cannot charge are refused.
    #[arg(long, env = contracts::env::PAYMENT_PROVIDER, default_value_t)]
    pub payment_provider: Provider,
}

/// What the program does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Subcommand)]
pub enum Command {
    /// Serve the API, end holds whose time is up, publish what organizers change.
    #[default]
    Serve,
    /// Create or update indexes and validators, then exit. Safe to repeat.
    Migrate,
    /// Compare the counters of all events with the sums over their reservations, in one snapshot.
    ///
    /// Prints one JSON object a line for each event that differs; exits with 0 if none does and with 1 otherwise.
    CheckLedger,
}

impl Config {
    /// The URL of MongoDB; fails if it is missing or has a default password.
    pub fn mongodb_url(&self) -> anyhow::Result<Secret> {
        server_url("MONGODB_URL", self.mongodb_url.as_deref(), self.mongodb_url_file.as_ref())
    }

    /// The URL of RabbitMQ; fails if it is missing or has a default password.
    pub fn amqp_url(&self) -> anyhow::Result<Secret> {
        server_url("AMQP_URL", self.amqp_url.as_deref(), self.amqp_url_file.as_ref())
    }

    /// The folder of the public keys of other services.
    pub fn trusted_service_keys_dir(&self) -> anyhow::Result<&Path> {
        self.trusted_service_keys_dir.as_deref().context("set TRUSTED_SERVICE_KEYS_DIR")
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_never_shows_a_secret() {
        Config::command().debug_assert();
        let hidden = |name: &str| {
            Config::command().get_arguments().any(|arg| arg.get_id() == name && arg.is_hide_env_values_set())
        };

        assert!(hidden("mongodb_url") && hidden("amqp_url"));
    }
}
