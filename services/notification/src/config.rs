//! Settings of notification-service.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use platform::config::{Secret, ServerArgs, server_url};
use url::Url;

/// Stores what happened to bookings and events as notifications, and tells people about them.
#[derive(Clone, Debug, Parser)]
#[command(name = "notification-service", version)]
pub struct Config {
    /// What to do; `serve` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of every program.
    #[command(flatten)]
    pub service: ServerArgs,
    /// MongoDB with credentials, such as `mongodb://user:…@mongodb/?replicaSet=rs0&authSource=admin`.
    #[arg(long, env = contracts::env::MONGODB_URL, hide_env_values = true, global = true)]
    pub mongodb_url: Option<String>,
    /// A file that holds `MONGODB_URL`.
    #[arg(long, env = contracts::env::MONGODB_URL_FILE, global = true)]
    pub mongodb_url_file: Option<PathBuf>,
    /// The database.
    #[arg(long, env = contracts::env::MONGODB_DATABASE, default_value = "notifications", global = true)]
    pub mongodb_database: String,
    /// RabbitMQ with credentials, such as `amqp://user:…@rabbitmq/%2f`.
    #[arg(long, env = contracts::env::AMQP_URL, hide_env_values = true, global = true)]
    pub amqp_url: Option<String>,
    /// A file that holds `AMQP_URL`.
    #[arg(long, env = contracts::env::AMQP_URL_FILE, global = true)]
    pub amqp_url_file: Option<PathBuf>,
    /// Where user-service publishes the keys that verify access tokens.
    #[arg(long, env = contracts::env::JWKS_URL, default_value = "http://user-service:8080/.well-known/jwks.json")]
    pub jwks_url: Url,
    /// Messages handled at the same time. Many, for those to one person may wait for each other.
    #[arg(long, env = "CONSUMER_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub consumer_concurrency: u16,
    /// The most open event streams of one replica; more are refused with 429.
    #[arg(long, env = "STREAMS_MAX", default_value_t = 2000)]
    pub streams_max: usize,
}

/// What the program does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Subcommand)]
pub enum Command {
    /// Serve the API, consume messages.
    #[default]
    Serve,
    /// Create or update indexes and validators, then exit. Safe to repeat.
    Migrate,
    /// Move the messages that wait in `notification.dead` back to `notification`, print how many, then exit.
    ///
    /// Run it once whatever made them fail is mended. Messages that fail again come back to `notification.dead`; those
    /// that were stored already change nothing.
    RedriveDeadLetters,
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
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_never_shows_a_secret() {
        Config::command().debug_assert();
        let secrets = ["mongodb_url", "amqp_url"];

        let shown: Vec<_> = Config::command()
            .get_arguments()
            .filter(|argument| secrets.contains(&argument.get_id().as_str()) && !argument.is_hide_env_values_set())
            .map(|argument| argument.get_id().to_string())
            .collect();

        assert_eq!(shown, Vec::<String>::new());
    }

    #[test]
    fn without_a_command_it_serves() {
        let config = Config::parse_from(["notification-service"]);

        assert_eq!(config.command.unwrap_or_default(), Command::Serve);
    }
}
