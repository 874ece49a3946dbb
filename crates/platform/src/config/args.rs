//! The groups of settings that programs share; each service flattens the ones that it needs into its `Config`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use url::Url;

use super::{Secret, server_url};

/// Settings that every program of the platform takes.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Address of the public listener.
    #[arg(long, env = contracts::env::LISTEN_ADDR, default_value = "0.0.0.0:8080")]
    pub listen_addr: SocketAddr,
    /// Address of the admin listener: /livez, /readyz, /metrics. Never exposed by the ingress.
    #[arg(long, env = contracts::env::ADMIN_ADDR, default_value = "0.0.0.0:9090")]
    pub admin_addr: SocketAddr,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// The origin that browsers see; names the session cookies and decides whether they are Secure.
    #[arg(long, env = contracts::env::PUBLIC_URL, default_value = "http://localhost:8080")]
    pub public_url: Url,
    /// Longest time until a response begins, in seconds.
    #[arg(long, env = "REQUEST_TIMEOUT_SECONDS", default_value_t = 30)]
    pub request_timeout_seconds: u64,
    /// Longest time for a request's body to arrive, in seconds. A client that takes longer gets 408.
    #[arg(long, env = "REQUEST_BODY_TIMEOUT_SECONDS", default_value_t = 10)]
    pub request_body_timeout_seconds: u64,
    /// The most connections to the public listener. Beyond that, a new one replaces one that only waits for its client.
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 2048, value_parser = connections)]
    pub max_connections: usize,
    /// How long connections are still accepted after SIGTERM, in seconds, while routers take the process out.
    #[arg(long, env = contracts::env::SHUTDOWN_DELAY_SECONDS, default_value_t = 10)]
    pub shutdown_delay_seconds: u64,
    /// How long requests under way may take after that, in seconds.
    #[arg(long, env = contracts::env::DRAIN_SECONDS, default_value_t = 20)]
    pub drain_seconds: u64,
    /// Take the client's address from X-Forwarded-For; only behind a proxy that sets it.
    #[arg(long, env = contracts::env::TRUST_FORWARDED_FOR, default_value_t = false, action = clap::ArgAction::Set)]
    pub trust_forwarded_for: bool,
    /// How many proxies in a row are trusted: each adds an entry, and the client is so many from the end.
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub trusted_proxies: u8,
}

impl ServerArgs {
    /// [`ServerArgs::request_timeout_seconds`] as a duration.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }

    /// [`ServerArgs::request_body_timeout_seconds`] as a duration.
    pub fn request_body_timeout(&self) -> Duration {
        Duration::from_secs(self.request_body_timeout_seconds)
    }

    /// How many proxies in a row are trusted; 0 if none is.
    pub fn trusted_hops(&self) -> usize {
        if self.trust_forwarded_for { self.trusted_proxies.into() } else { 0 }
    }
}

fn connections(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a number from 1 on".to_owned())
}

/// The settings for logging.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// Log level or filter, such as `info` or `warn,booking_service=debug`.
    #[arg(long, env = contracts::env::LOG_LEVEL, default_value = "info", global = true)]
    pub log_level: String,
    /// Format of the logs; `auto` is text on a terminal and JSON elsewhere.
    #[arg(long, env = contracts::env::LOG_FORMAT, value_enum, default_value_t = LogFormat::Auto, global = true)]
    pub log_format: LogFormat,
}

/// Shape of the logs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The settings for PostgreSQL.
#[derive(Args, Clone, Debug)]
pub struct PostgresArgs {
    /// The PostgreSQL database with credentials, such as `postgres://user:…@postgres/database`.
    #[arg(long, env = contracts::env::DATABASE_URL, hide_env_values = true, global = true)]
    pub database_url: Option<String>,
    /// File that holds `DATABASE_URL`.
    #[arg(long, env = contracts::env::DATABASE_URL_FILE, global = true)]
    pub database_url_file: Option<PathBuf>,
}

impl PostgresArgs {
    /// The URL of the database. Fails as [`server_url`] does.
    pub fn url(&self) -> anyhow::Result<Secret> {
        server_url("DATABASE_URL", self.database_url.as_deref(), self.database_url_file.as_ref())
    }
}

/// The settings for MongoDB.
#[derive(Args, Clone, Debug)]
pub struct MongoArgs {
    /// MongoDB (a replica set) with credentials, such as `mongodb://user:…@mongodb/?replicaSet=rs0&authSource=admin`.
    #[arg(long, env = contracts::env::MONGODB_URL, hide_env_values = true, global = true)]
    pub mongodb_url: Option<String>,
    /// File that holds `MONGODB_URL`.
    #[arg(long, env = contracts::env::MONGODB_URL_FILE, global = true)]
    pub mongodb_url_file: Option<PathBuf>,
}

impl MongoArgs {
    /// The URL of the replica set. Fails as [`server_url`] does.
    pub fn url(&self) -> anyhow::Result<Secret> {
        server_url("MONGODB_URL", self.mongodb_url.as_deref(), self.mongodb_url_file.as_ref())
    }
}

/// The settings for RabbitMQ.
#[derive(Args, Clone, Debug)]
pub struct AmqpArgs {
    /// RabbitMQ with credentials, such as `amqp://user:…@rabbitmq/%2f`.
    #[arg(long, env = contracts::env::AMQP_URL, hide_env_values = true, global = true)]
    pub amqp_url: Option<String>,
    /// File that holds `AMQP_URL`.
    #[arg(long, env = contracts::env::AMQP_URL_FILE, global = true)]
    pub amqp_url_file: Option<PathBuf>,
}

impl AmqpArgs {
    /// The URL of RabbitMQ. Fails as [`server_url`] does.
    pub fn url(&self) -> anyhow::Result<Secret> {
        server_url("AMQP_URL", self.amqp_url.as_deref(), self.amqp_url_file.as_ref())
    }
}

/// The setting of services that verify the access tokens of user-service.
#[derive(Args, Clone, Debug)]
pub struct JwksArgs {
    /// Where user-service publishes the keys that verify access tokens.
    #[arg(long, env = contracts::env::JWKS_URL, default_value = "http://user-service:8080/.well-known/jwks.json")]
    pub jwks_url: Url,
}
