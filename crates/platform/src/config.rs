//! Settings that every program takes, and secrets that come from a variable or a file and refuse to be defaults.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use url::Url;

/// Settings that every program of the platform takes.
#[derive(Args, Clone, Debug)]
pub struct ServiceArgs {
    /// Address of the public listener.
    #[arg(long, env = "LISTEN_ADDR", default_value = "0.0.0.0:8080")]
    pub listen_addr: SocketAddr,
    /// Address of the admin listener: /livez, /readyz, /metrics. Never exposed by the ingress.
    #[arg(long, env = "ADMIN_ADDR", default_value = "0.0.0.0:9090")]
    pub admin_addr: SocketAddr,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// The origin that browsers see; names the session cookies and decides whether they are Secure.
    #[arg(long, env = "PUBLIC_URL", default_value = "http://localhost:8080")]
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
    #[arg(long, env = "SHUTDOWN_DELAY_SECONDS", default_value_t = 10)]
    pub shutdown_delay_seconds: u64,
    /// How long requests under way may take after that, in seconds.
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 20)]
    pub drain_seconds: u64,
    /// Take the client's address from X-Forwarded-For; only behind a proxy that sets it.
    #[arg(long, env = "TRUST_FORWARDED_FOR", default_value_t = false, action = clap::ArgAction::Set)]
    pub trust_forwarded_for: bool,
    /// How many proxies in a row are trusted: each adds an entry, and the client is so many from the end.
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub trusted_proxies: u8,
}

impl ServiceArgs {
    /// [`ServiceArgs::request_timeout_seconds`] as a duration.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }

    /// [`ServiceArgs::request_body_timeout_seconds`] as a duration.
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
    #[arg(long, env = "LOG_LEVEL", default_value = "info", global = true)]
    pub log_level: String,
    /// Format of the logs; `auto` is text on a terminal and JSON elsewhere.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto, global = true)]
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

/// A secret value. Its `Debug` hides it.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that is already known to be fit.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the moment of its use.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Values that stand in examples and images everywhere, and so are no secrets.
const WELL_KNOWN: [&str; 12] = [
    "admin",
    "change-me",
    "changeit",
    "changeme",
    "default",
    "example",
    "guest",
    "password",
    "postgres",
    "root",
    "secret",
    "test",
];

/// The secret of setting `name`: its value, or the content of its file (trailing line breaks removed).
///
/// Fails when both or neither are given, when the file cannot be read, and when the value is empty or well known.
pub fn secret(name: &str, value: Option<&str>, file: Option<&PathBuf>) -> anyhow::Result<Secret> {
    let text = match (value, file) {
        (Some(value), None) => value.to_owned(),
        (None, Some(path)) => {
            std::fs::read_to_string(path).with_context(|| format!("{name}_FILE: cannot read {}", path.display()))?
        }
        (Some(_), Some(_)) => bail!("both {name} and {name}_FILE are set; keep one"),
        (None, None) => bail!("set {name} or {name}_FILE"),
    };
    let text = text.trim_end_matches(['\r', '\n']);
    ensure!(!text.is_empty(), "{name} is empty");
    ensure!(!WELL_KNOWN.contains(&text.to_lowercase().as_str()), "{name} is a well-known default; choose a secret one");
    Ok(Secret(text.to_owned()))
}

/// The URL of a server with its credentials, from setting `name` or its file.
///
/// Refuses well-known passwords, and a missing password unless the host is this machine.
pub fn server_url(name: &str, value: Option<&str>, file: Option<&PathBuf>) -> anyhow::Result<Secret> {
    let secret = secret(name, value, file)?;
    let rest = secret.expose().split_once("://").with_context(|| format!("{name} is not a URL"))?.1;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let password = credentials.split_once(':').map_or("", |(_, password)| password);
    if password.is_empty() {
        let local = hosts.split(',').all(is_this_machine);
        ensure!(local, "{name} has no password; add one (only a server on this machine may do without)");
    }
    ensure!(
        !WELL_KNOWN.contains(&password.to_lowercase().as_str()),
        "{name} has a well-known default password; choose a secret one"
    );
    Ok(secret)
}

/// Whether the host of a URL, with or without a port, is this machine: `localhost` or a loopback address.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| name.eq_ignore_ascii_case(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_password_is_refused() {
        let refused = server_url("AMQP_URL", Some("amqp://guest:guest@rabbitmq:5672"), None);

        assert!(refused.unwrap_err().to_string().contains("well-known"));
    }

    #[test]
    fn only_this_machine_may_do_without_a_password() {
        assert!(server_url("MONGODB_URL", Some("mongodb://127.0.0.1:27017/?a=b"), None).is_ok());
        assert!(server_url("MONGODB_URL", Some("mongodb://localhost,[::1]:27018/"), None).is_ok());
        for host in
            ["mongo:27017", "localhost.example.org", "127.0.0.1.example.org:27017", "localhost,mongo", "[::1].x"]
        {
            let url = format!("mongodb://{host}/?a=b");
            assert!(server_url("MONGODB_URL", Some(&url), None).is_err(), "{host}");
        }
    }

    #[test]
    fn a_missing_secret_names_both_settings() {
        let refused = secret("API_KEY", None, None).unwrap_err();

        assert_eq!(refused.to_string(), "set API_KEY or API_KEY_FILE");
    }
}
