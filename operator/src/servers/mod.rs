//! What the operator does on the servers themselves: log in, initiate the replica set, make users and databases.
//!
//! Everything is idempotent. [`Servers`] is a trait because the servers are the world outside, which tests replace.

mod mongodb;
mod postgres;
mod rabbitmq;

use std::time::Duration;

use ::mongodb as driver;
use futures::future::BoxFuture;
use platform::config::Secret;

/// The longest that a server may take to be looked after.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// The longest that a single connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// A user and the database that it has for itself.
#[derive(Clone, Debug)]
pub struct Account {
    /// Name of the user.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Name of its database.
    pub database: String,
}

/// How an encrypted connection is checked.
#[derive(Clone, Debug)]
pub struct TlsTarget {
    /// The authority's certificate in PEM, or the usual authorities.
    pub authority: Option<String>,
}

/// A PostgreSQL server and what shall be on it.
#[derive(Clone, Debug)]
pub struct PostgresTarget {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// A role that may create roles and databases.
    pub admin: String,
    /// Its password.
    pub password: Secret,
    /// How the connection is protected, if it is.
    pub tls: Option<TlsTarget>,
    /// What shall be there.
    pub accounts: Vec<Account>,
}

/// A MongoDB replica set and what shall be on it.
#[derive(Clone, Debug)]
pub struct MongodbTarget {
    /// Its members as `host:port`.
    pub hosts: Vec<String>,
    /// The name under which the operator initiates it; not somebody else's.
    pub initiate: Option<String>,
    /// The name that clients of somebody else's set must give.
    pub replica_set: Option<String>,
    /// A user that may create users.
    pub admin: String,
    /// Its password.
    pub password: Secret,
    /// How the connection is protected, if it is.
    pub tls: Option<TlsTarget>,
    /// What shall be there.
    pub accounts: Vec<Account>,
}

/// A RabbitMQ broker. Its users come with its definitions.
#[derive(Clone, Debug)]
pub struct RabbitmqTarget {
    /// Where it is and how to log in.
    pub url: Secret,
    /// How the connection is checked, if it is encrypted.
    pub tls: Option<TlsTarget>,
}

/// Why a server is not ready.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ServerFailure {
    /// It does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// It refuses the credentials.
    #[error("{0}")]
    AuthFailed(String),
    /// It is on its way.
    #[error("{0}")]
    NotReady(String),
    /// It answers, but refuses what is asked of it.
    #[error("{0}")]
    Refused(String),
}

impl ServerFailure {
    /// One word for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Unreachable",
            Self::AuthFailed(_) => "AuthFailed",
            Self::NotReady(_) => "Starting",
            Self::Refused(_) => "Refused",
        }
    }
}

/// Looks after the servers.
pub trait Servers: Send + Sync {
    /// Makes sure of roles and databases.
    fn postgres<'a>(&'a self, target: &'a PostgresTarget) -> BoxFuture<'a, Result<(), ServerFailure>>;
    /// Makes sure of the replica set and its users.
    fn mongodb<'a>(&'a self, target: &'a MongodbTarget) -> BoxFuture<'a, Result<(), ServerFailure>>;
    /// Makes sure that the broker lets its users in.
    fn rabbitmq<'a>(&'a self, target: &'a RabbitmqTarget) -> BoxFuture<'a, Result<(), ServerFailure>>;
}

/// The servers on the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkServers;

impl Servers for NetworkServers {
    fn postgres<'a>(&'a self, target: &'a PostgresTarget) -> BoxFuture<'a, Result<(), ServerFailure>> {
        Box::pin(bounded("PostgreSQL", postgres::prepare(target.clone())))
    }

    fn mongodb<'a>(&'a self, target: &'a MongodbTarget) -> BoxFuture<'a, Result<(), ServerFailure>> {
        Box::pin(bounded("MongoDB", mongodb::prepare(target.clone())))
    }

    fn rabbitmq<'a>(&'a self, target: &'a RabbitmqTarget) -> BoxFuture<'a, Result<(), ServerFailure>> {
        Box::pin(bounded("RabbitMQ", rabbitmq::check(target.clone())))
    }
}

/// Runs in a task of its own, for a driver's futures must not be dropped midway.
async fn bounded<F>(server: &str, work: F) -> Result<(), ServerFailure>
where
    F: Future<Output = Result<(), ServerFailure>> + Send + 'static,
{
    match tokio::time::timeout(TIMEOUT, tokio::spawn(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(ServerFailure::Refused(format!("looking after {server} failed: {error}"))),
        Err(_) => Err(ServerFailure::Unreachable(format!("{server} did not answer within {} s", TIMEOUT.as_secs()))),
    }
}

/// Writes an authority's certificate where a driver that takes only paths finds it.
async fn authority_file(pem: &str) -> Result<std::path::PathBuf, ServerFailure> {
    let path = std::env::temp_dir().join(format!("authority-{}.pem", crate::child::hash(&pem.into())));
    tokio::fs::write(&path, pem)
        .await
        .map_err(|error| ServerFailure::Refused(format!("cannot keep the authority's certificate: {error}")))?;
    Ok(path)
}

/// Whether MongoDB's error says that the credentials are wrong.
fn is_mongodb_auth(error: &driver::error::Error) -> bool {
    match error.kind.as_ref() {
        driver::error::ErrorKind::Authentication { .. } => true,
        // 13 Unauthorized, 18 AuthenticationFailed
        driver::error::ErrorKind::Command(command) => matches!(command.code, 13 | 18),
        _ => false,
    }
}
