//! Settings, from the command line, the environment and files.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use platform::config::{Secret, ServerArgs, secret, server_url};
use url::Url;

/// Registration, login, sessions and roles of the Event Booking Platform.
#[derive(Parser)]
#[command(name = "user-service", version)]
pub struct Arguments {
    /// What to do; `serve` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub config: Config,
}

/// What to do.
#[derive(Clone, Copy, Default, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM.
    #[default]
    Serve,
    /// Bring the database's schema up to date, then exit.
    Migrate,
}

/// The settings of user-service.
#[derive(Args, Clone)]
pub struct Config {
    /// What every service takes.
    #[command(flatten)]
    pub service: ServerArgs,
    /// URL of the PostgreSQL database, with its password.
    #[arg(long, env = contracts::env::DATABASE_URL, hide_env_values = true)]
    pub database_url: Option<String>,
    /// File that holds the URL of the PostgreSQL database.
    #[arg(long, env = contracts::env::DATABASE_URL_FILE)]
    pub database_url_file: Option<PathBuf>,
    /// URL of RabbitMQ, with its password.
    #[arg(long, env = contracts::env::AMQP_URL, hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// File that holds the URL of RabbitMQ.
    #[arg(long, env = contracts::env::AMQP_URL_FILE)]
    pub amqp_url_file: Option<PathBuf>,
    /// Folder of the keys that sign access tokens: `<kid>.pem`, Ed25519 in PKCS#8. All are published; the last by name
    /// signs, once it has been published for two minutes. The folder is read again every 10 seconds.
    #[arg(long, env = contracts::env::SIGNING_KEYS_DIR)]
    pub signing_keys_dir: Option<PathBuf>,
    /// Key that refresh tokens are derived with, at least 32 bytes; the same for every replica.
    #[arg(long, env = "REFRESH_TOKEN_KEY", hide_env_values = true)]
    pub refresh_token_key: Option<String>,
    /// File that holds the key that refresh tokens are derived with.
    #[arg(long, env = contracts::env::REFRESH_TOKEN_KEY_FILE)]
    pub refresh_token_key_file: Option<PathBuf>,
    /// Address of event-service, such as `http://event-service:8080`.
    #[arg(long, env = contracts::env::EVENT_SERVICE_URL)]
    pub event_service_url: Option<Url>,
    /// E-mail address of the first admin, who is made at start unless somebody has that address.
    #[arg(long, env = contracts::env::ADMIN_EMAIL)]
    pub admin_email: Option<String>,
    /// Password of the first admin. Changing it here later changes nothing.
    #[arg(long, env = "ADMIN_PASSWORD", hide_env_values = true)]
    pub admin_password: Option<String>,
    /// File that holds the password of the first admin.
    #[arg(long, env = contracts::env::ADMIN_PASSWORD_FILE)]
    pub admin_password_file: Option<PathBuf>,
    /// Whether an admin has to approve organizers; otherwise whoever registers as one is one.
    #[arg(long, env = "ORGANIZER_APPROVAL", default_value_t = false, action = clap::ArgAction::Set)]
    pub organizer_approval: bool,
    /// How long an access token is valid, in seconds.
    #[arg(long, env = "ACCESS_TOKEN_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub access_token_seconds: u32,
    /// How long a session lives without being refreshed, in days.
    #[arg(long, env = "REFRESH_TOKEN_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub refresh_token_days: u32,
    /// How many accounts may be registered from one address in an hour; an IPv6 address counts by its /64 network.
    #[arg(long, env = "REGISTRATIONS_PER_ADDRESS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub registrations_per_address: u32,
    /// How many passwords are hashed at once; each takes 19 MiB of memory and a processor.
    #[arg(long, env = "PASSWORD_HASH_WORKERS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub password_hash_workers: u32,
}

impl Config {
    /// The database's URL.
    pub fn database_url(&self) -> anyhow::Result<Secret> {
        server_url("DATABASE_URL", self.database_url.as_deref(), self.database_url_file.as_ref())
    }

    /// RabbitMQ's URL.
    pub fn amqp_url(&self) -> anyhow::Result<Secret> {
        server_url("AMQP_URL", self.amqp_url.as_deref(), self.amqp_url_file.as_ref())
    }

    /// The folder of the signing keys.
    pub fn signing_keys_dir(&self) -> anyhow::Result<&Path> {
        self.signing_keys_dir.as_deref().context("set SIGNING_KEYS_DIR")
    }

    /// The key that refresh tokens are derived with. A file is taken byte by byte.
    pub fn refresh_token_key(&self) -> anyhow::Result<Vec<u8>> {
        let key = match (&self.refresh_token_key, &self.refresh_token_key_file) {
            (None, Some(path)) => std::fs::read(path)
                .with_context(|| format!("REFRESH_TOKEN_KEY_FILE: cannot read {}", path.display()))?,
            (value, file) => secret("REFRESH_TOKEN_KEY", value.as_deref(), file.as_ref())?.expose().into(),
        };
        ensure!(key.len() >= 32, "REFRESH_TOKEN_KEY has {} bytes; it needs at least 32", key.len());
        Ok(key)
    }

    /// The address of event-service.
    pub fn event_service_url(&self) -> anyhow::Result<&Url> {
        self.event_service_url.as_ref().context("set EVENT_SERVICE_URL")
    }
}
