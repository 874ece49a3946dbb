//! Settings that programs share, and secrets that come from a variable or a file and refuse to be defaults.

mod args;

use std::{fmt, path::PathBuf};

use anyhow::{Context, bail, ensure};

pub use self::args::{AmqpArgs, JwksArgs, LogArgs, LogFormat, MongoArgs, PostgresArgs, ServerArgs};

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
