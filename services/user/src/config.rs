//! Settings of user-service, from flags or the environment.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use clap::{Parser, Subcommand};
use platform::config::{AmqpArgs, PostgresArgs, Secret, ServerArgs, secret};
use url::Url;

/// Registers users, logs them in, and signs the access tokens of the platform.
#[derive(Clone, Parser)]
#[command(name = "user-service", version)]
pub struct Config {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub postgres: PostgresArgs,
    #[command(flatten)]
    pub amqp: AmqpArgs,
    /// Folder of the keys that sign access tokens: `<kid>.pem`, Ed25519 in PKCS#8. All are published; the last by name
    /// signs, once it has been published for two minutes. The folder is read again every 10 seconds.
    #[arg(long, env = contracts::env::SIGNING_KEYS_DIR)]
    pub signing_keys_dir: Option<PathBuf>,
    /// Key that refresh tokens are derived with, at least 32 bytes; the same for every replica.
    #[arg(long, env = "REFRESH_TOKEN_KEY", hide_env_values = true)]
    pub refresh_token_key: Option<String>,
    /// File that holds `REFRESH_TOKEN_KEY`, which may be any bytes.
    #[arg(long, env = contracts::env::REFRESH_TOKEN_KEY_FILE)]
    pub refresh_token_key_file: Option<PathBuf>,
    /// Base URL of event-service, such as `http://event-service:8080`.
    #[arg(long, env = contracts::env::EVENT_SERVICE_URL)]
    pub event_service_url: Option<Url>,
    /// E-mail address of the first admin, who is created at start unless there is an active admin, or a user has that
    /// address.
    #[arg(long, env = contracts::env::ADMIN_EMAIL)]
    pub admin_email: Option<String>,
    /// Password of the first admin. It is used only to create the admin; changing it later has no effect.
    #[arg(long, env = "ADMIN_PASSWORD", hide_env_values = true)]
    pub admin_password: Option<String>,
    /// File that holds `ADMIN_PASSWORD`.
    #[arg(long, env = contracts::env::ADMIN_PASSWORD_FILE)]
    pub admin_password_file: Option<PathBuf>,
    /// Whether an admin must approve organizers. Otherwise anybody may register as one.
    #[arg(long, env = "ORGANIZER_APPROVAL", default_value_t = false, action = clap::ArgAction::Set)]
    pub organizer_approval: bool,
    /// Lifetime of an access token, in seconds.
    #[arg(long, env = "ACCESS_TOKEN_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub access_token_seconds: u32,
    /// Lifetime of a session that is not refreshed, in days.
    #[arg(long, env = "REFRESH_TOKEN_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub refresh_token_days: u32,
    /// Accounts that one address may register in an hour. An IPv6 address counts as its /64 network.
    #[arg(long, env = "REGISTRATIONS_PER_ADDRESS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub registrations_per_address: u32,
    /// Passwords that are hashed at once. Each takes 19 MiB of memory and a CPU core.
    #[arg(long, env = "PASSWORD_HASH_WORKERS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub password_hash_workers: u32,
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
    /// Publish the messages about deleted accounts again, then exit. For use after another service's database was restored
    /// from a backup; safe to repeat.
    RepublishDeletions {
        /// Only accounts that were deleted at this time or later, such as `2026-01-31T12:00:00Z`.
        #[arg(long, default_value_t = DateTime::UNIX_EPOCH)]
        since: DateTime<Utc>,
    },
}

impl Config {
    /// The key that refresh tokens are derived with. Fails if it is missing or shorter than 32 bytes.
    pub fn refresh_token_key(&self) -> anyhow::Result<Vec<u8>> {
        let key = match (&self.refresh_token_key, &self.refresh_token_key_file) {
            // Byte by byte, unlike other secrets: a key need not be text.
            (None, Some(path)) => std::fs::read(path)
                .with_context(|| format!("REFRESH_TOKEN_KEY_FILE: cannot read {}", path.display()))?,
            (value, file) => secret("REFRESH_TOKEN_KEY", value.as_deref(), file.as_ref())?.expose().into(),
        };
        ensure!(key.len() >= 32, "REFRESH_TOKEN_KEY has {} bytes; it needs at least 32", key.len());
        Ok(key)
    }

    /// E-mail address and password of the first admin; `None` if neither is set. Fails if one of them is missing.
    pub fn first_admin(&self) -> anyhow::Result<Option<(&str, Secret)>> {
        let Some(email) = &self.admin_email else {
            let password_is_set = self.admin_password.is_some() || self.admin_password_file.is_some();
            ensure!(!password_is_set, "set ADMIN_EMAIL too, or no ADMIN_PASSWORD");
            return Ok(None);
        };
        let password = secret("ADMIN_PASSWORD", self.admin_password.as_deref(), self.admin_password_file.as_ref())?;
        Ok(Some((email, password)))
    }
}
