//! Settings of event-service.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use contracts::payment::Provider;
use platform::config::{AmqpArgs, JwksArgs, MongoArgs, ServerArgs};

/// Keeps events and their seats: search, capacity, reservations.
#[derive(Clone, Parser)]
#[command(name = "event-service", version)]
pub struct Config {
    /// What to do; `serve` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub mongo: MongoArgs,
    /// Name of the database.
    #[arg(long, env = contracts::env::MONGODB_DATABASE, default_value = "events", global = true)]
    pub mongodb_database: String,
    #[command(flatten)]
    pub amqp: AmqpArgs,
    #[command(flatten)]
    pub jwks: JwksArgs,
    /// Folder of the public keys of the services that may take seats: `<service>.pem`, Ed25519 in SPKI; in practice
    /// `booking-service.pem`.
    #[arg(long, env = contracts::env::TRUSTED_SERVICE_KEYS_DIR)]
    pub trusted_service_keys_dir: Option<PathBuf>,
    /// The most requests for one event that are committed together; 1 commits them one by one.
    #[arg(long, env = "BATCH_MAX", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub batch_max: u32,
    /// How long an event must stay unchanged before its holders are notified of what changed, in seconds. They are
    /// notified after ten times as long at the latest. Cancellations do not wait.
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
    /// Serve the API, release expired holds, publish what organizers change, consume messages.
    #[default]
    Serve,
    /// Create or update indexes and validators, then exit. Safe to repeat.
    Migrate,
    /// Compare the counters of all events with the sums over their reservations, in one snapshot.
    ///
    /// Prints one line of JSON for each event that differs. Exits with 0 if none does, otherwise with 1.
    CheckLedger,
    /// Move dead-lettered messages back to this service's queue, then exit.
    RedriveDeadLetters,
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
