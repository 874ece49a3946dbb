//! Settings, from the environment or the command line.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use platform::config::{Secret, ServerArgs, secret, server_url};
use url::Url;

/// The payment company of development and tests: a stateful subset of Stripe's API.
#[derive(Clone, Debug, Parser)]
#[command(name = "mock-gateway", version)]
pub struct Config {
    /// What to do; serves if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What every program takes.
    #[command(flatten)]
    pub service: ServerArgs,
    /// URL of the PostgreSQL database that all replicas share.
    #[arg(long, env = contracts::env::DATABASE_URL, hide_env_values = true)]
    pub database_url: Option<String>,
    /// File with the URL of the database.
    #[arg(long, env = contracts::env::DATABASE_URL_FILE)]
    pub database_url_file: Option<PathBuf>,
    /// Most connections to the database.
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value_t = 10)]
    pub database_connections: u32,
    /// The key that callers send as `Authorization: Bearer`.
    #[arg(long, env = "API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// File with the key.
    #[arg(long, env = contracts::env::API_KEY_FILE)]
    pub api_key_file: Option<PathBuf>,
    /// Where webhooks are sent, such as `http://booking-service:8080/payments/webhooks/mock`.
    #[arg(long, env = contracts::env::WEBHOOK_URL)]
    pub webhook_url: Option<Url>,
    /// The secret that webhooks are signed with.
    #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true)]
    pub webhook_secret: Option<String>,
    /// File with the secret.
    #[arg(long, env = contracts::env::WEBHOOK_SECRET_FILE)]
    pub webhook_secret_file: Option<PathBuf>,
    /// How long a payment with `pm_mock_late` takes to settle, in seconds.
    #[arg(long, env = "LATE_SECONDS", default_value_t = 3)]
    pub late_seconds: u32,
}

/// What the program can be told to do.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM.
    Serve,
    /// Bring the schema up to date and exit.
    Migrate,
}

/// What serving needs, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// URL of the database.
    pub database_url: Secret,
    /// Most connections to it.
    pub database_connections: u32,
    /// The callers' key.
    pub api_key: Secret,
    /// Where webhooks go.
    pub webhook_url: Url,
    /// What they are signed with.
    pub webhook_secret: Secret,
    /// How long a late payment takes, in seconds.
    pub late_seconds: u32,
}

impl Config {
    /// Everything that serving needs. Fails on what is missing or a well-known default.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let webhook_url = self.webhook_url.clone().context("set WEBHOOK_URL")?;
        ensure!(matches!(webhook_url.scheme(), "http" | "https"), "WEBHOOK_URL must begin with http:// or https://");
        Ok(Settings {
            database_url: self.database_url()?,
            database_connections: self.database_connections,
            api_key: secret("API_KEY", self.api_key.as_deref(), self.api_key_file.as_ref())?,
            webhook_url,
            webhook_secret: secret(
                "WEBHOOK_SECRET",
                self.webhook_secret.as_deref(),
                self.webhook_secret_file.as_ref(),
            )?,
            late_seconds: self.late_seconds,
        })
    }

    /// The URL of the database; all that `migrate` needs.
    pub fn database_url(&self) -> anyhow::Result<Secret> {
        server_url("DATABASE_URL", self.database_url.as_deref(), self.database_url_file.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(api_key: &str, webhook_secret: Option<&str>) -> Config {
        let mut arguments = vec!["mock-gateway", "--database-url", "postgres://mock:s3cr3t-x@db/mock"];
        arguments.extend(["--webhook-url", "http://booking:8080/payments/webhooks/mock", "--api-key", api_key]);
        arguments.extend(webhook_secret.iter().flat_map(|secret| ["--webhook-secret", *secret]));
        Config::parse_from(arguments)
    }

    #[test]
    fn default_and_missing_secrets_are_refused() {
        assert!(config("sk_test_4eC39HqLyjWD", Some("whsec_9fJ2")).settings().is_ok());
        assert!(config("changeme", Some("whsec_9fJ2")).settings().unwrap_err().to_string().contains("API_KEY"));
        let missing = config("sk_test_4eC39HqLyjWD", None).settings().unwrap_err();
        assert_eq!(missing.to_string(), "set WEBHOOK_SECRET or WEBHOOK_SECRET_FILE");
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;

        Config::command().debug_assert();
    }
}
