//! Settings of mock-gateway, from flags or the environment.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use platform::config::{PostgresArgs, Secret, ServerArgs, secret};
use url::Url;

/// The payment gateway of development and tests: a stateful subset of Stripe's API.
#[derive(Clone, Debug, Parser)]
#[command(name = "mock-gateway", version)]
pub struct Config {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub postgres: PostgresArgs,
    /// Most connections to the database.
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 10)]
    pub database_connections: u32,
    /// The key that callers send as `Authorization: Bearer`.
    #[arg(long, env = "API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// File that holds `API_KEY`.
    #[arg(long, env = contracts::env::API_KEY_FILE)]
    pub api_key_file: Option<PathBuf>,
    /// Where webhooks are sent, such as `http://booking-service:8080/payments/webhooks/mock`.
    #[arg(long, env = contracts::env::WEBHOOK_URL)]
    pub webhook_url: Option<Url>,
    /// The secret that webhooks are signed with.
    #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true)]
    pub webhook_secret: Option<String>,
    /// File that holds `WEBHOOK_SECRET`.
    #[arg(long, env = contracts::env::WEBHOOK_SECRET_FILE)]
    pub webhook_secret_file: Option<PathBuf>,
    /// How long a payment with `pm_mock_late` takes to settle, in seconds.
    #[arg(long, env = "LATE_SECONDS", default_value_t = 3)]
    pub late_seconds: u32,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Default, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM (the default).
    #[default]
    Serve,
    /// Bring the schema up to date and exit.
    Migrate,
}

impl Config {
    pub fn api_key(&self) -> anyhow::Result<Secret> {
        secret("API_KEY", self.api_key.as_deref(), self.api_key_file.as_ref())
    }

    pub fn webhook_secret(&self) -> anyhow::Result<Secret> {
        secret("WEBHOOK_SECRET", self.webhook_secret.as_deref(), self.webhook_secret_file.as_ref())
    }

    /// Fails unless it is set to an HTTP URL.
    pub fn webhook_url(&self) -> anyhow::Result<Url> {
        let url = self.webhook_url.clone().context("set WEBHOOK_URL")?;
        ensure!(matches!(url.scheme(), "http" | "https"), "WEBHOOK_URL must begin with http:// or https://");
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn missing_and_well_known_secrets_are_refused() {
        let config = Config::parse_from(["mock-gateway", "--api-key", "changeme"]);

        assert!(config.api_key().unwrap_err().to_string().contains("API_KEY"));
        let missing = config.webhook_secret().unwrap_err();
        assert_eq!(missing.to_string(), "set WEBHOOK_SECRET or WEBHOOK_SECRET_FILE");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Config::command().debug_assert();
    }
}
