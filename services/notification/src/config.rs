//! Settings of notification-service, from flags or the environment.

use clap::{Parser, Subcommand};
use platform::config::{AmqpArgs, JwksArgs, MongoArgs, ServerArgs};

/// Stores notifications about bookings and events, and streams them to their users.
#[derive(Clone, Debug, Parser)]
#[command(name = "notification-service", version)]
pub struct Config {
    /// What to do; `serve` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub mongo: MongoArgs,
    /// Name of the database.
    #[arg(long, env = contracts::env::MONGODB_DATABASE, default_value = "notifications", global = true)]
    pub mongodb_database: String,
    #[command(flatten)]
    pub amqp: AmqpArgs,
    #[command(flatten)]
    pub jwks: JwksArgs,
    /// Messages per queue that are handled at the same time. Messages to the same user wait for each other, so the
    /// default is high.
    #[arg(long, env = "CONSUMER_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub consumer_concurrency: u16,
    /// The most open event streams of one replica; more are refused with 429.
    #[arg(long, env = "STREAMS_MAX", default_value_t = 2000)]
    pub streams_max: usize,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Subcommand)]
pub enum Command {
    /// Serve the API and consume messages (the default).
    #[default]
    Serve,
    /// Create or update indexes and validators, then exit. Safe to repeat.
    Migrate,
    /// Move the messages of the dead-letter queues back to their queues, print how many, then exit.
    ///
    /// Run it after the cause of their failure is fixed. Messages that fail again return to the dead-letter queue;
    /// messages that were already handled change nothing.
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

    #[test]
    fn the_default_command_is_serve() {
        let config = Config::parse_from(["notification-service"]);

        assert_eq!(config.command.unwrap_or_default(), Command::Serve);
    }
}
