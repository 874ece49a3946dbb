//! What the operator does on the servers themselves: log in, initiate the replica set, create users and databases.
//!
//! Everything is idempotent. [`Servers`] is a trait because tests replace the servers.

mod inquiry;
mod mongodb;
mod postgres;
mod rabbitmq;

use std::{collections::BTreeSet, time::Duration};

use ::mongodb as driver;
use futures::future::BoxFuture;
use platform::config::Secret;

use self::inquiry::Inquiries;
use crate::program::Program;

/// Time limit for all work on one server.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// Time limit for one connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// A program's user and database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    pub program: Program,
    pub user: String,
    pub password: Secret,
    pub database: String,
}

/// How the certificate of an encrypted connection is verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsTarget {
    /// A CA certificate in PEM. Default: the public authorities.
    pub authority: Option<String>,
}

/// A PostgreSQL server and the accounts on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PostgresTarget {
    pub host: String,
    pub port: u16,
    /// A role that may create roles and databases.
    pub admin: String,
    pub password: Secret,
    pub tls: Option<TlsTarget>,
    pub accounts: Vec<Account>,
    /// The mark on the roles. `None` on a server of the platform's own.
    pub owner: Option<String>,
}

/// A MongoDB replica set and the accounts on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MongodbTarget {
    /// The members as `host:port`.
    pub hosts: Vec<String>,
    /// The name of a managed replica set, which the operator initiates.
    pub initiate: Option<String>,
    /// The name of an external replica set.
    pub replica_set: Option<String>,
    /// A user that may create users.
    pub admin: String,
    pub password: Secret,
    pub tls: Option<TlsTarget>,
    pub accounts: Vec<Account>,
    /// The mark on the users. `None` on a replica set of the platform's own.
    pub owner: Option<String>,
}

/// A RabbitMQ broker. Its definitions hold its users.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RabbitmqTarget {
    pub url: Secret,
    pub tls: Option<TlsTarget>,
    /// The mark on the virtual host. `None` on a broker of the platform's own.
    pub owner: Option<String>,
}

/// The servers of a platform and what has to be on them.
#[derive(Clone, Debug)]
pub struct Targets {
    pub postgres: PostgresTarget,
    pub mongodb: MongodbTarget,
    pub rabbitmq: RabbitmqTarget,
}

/// What was found on a server that is ready.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Prepared {
    /// The programs whose databases hold nothing.
    pub empty: BTreeSet<Program>,
}

/// Why a server is not ready.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ServerFailure {
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    AuthFailed(String),
    /// It is starting.
    #[error("{0}")]
    NotReady(String),
    /// It answers, but rejects a request.
    #[error("{0}")]
    Refused(String),
    /// What the platform would create is there already, and somebody else's.
    #[error("{0}")]
    NameTaken(String),
}

impl ServerFailure {
    /// The reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Unreachable",
            Self::AuthFailed(_) => "AuthFailed",
            Self::NotReady(_) => "Starting",
            Self::Refused(_) => "Refused",
            Self::NameTaken(_) => "NameTaken",
        }
    }
}

/// Prepares the servers for the programs.
pub trait Servers: Send + Sync {
    /// Creates missing roles and databases.
    fn postgres<'a>(&'a self, target: &'a PostgresTarget) -> BoxFuture<'a, Result<Prepared, ServerFailure>>;
    /// Initiates the replica set and creates missing users.
    fn mongodb<'a>(&'a self, target: &'a MongodbTarget) -> BoxFuture<'a, Result<Prepared, ServerFailure>>;
    /// Checks that a user can log in, and that a shared virtual host is the platform's.
    fn rabbitmq<'a>(&'a self, target: &'a RabbitmqTarget) -> BoxFuture<'a, Result<(), ServerFailure>>;
}

/// The real servers.
pub struct NetworkServers {
    postgres: Inquiries<PostgresTarget, Prepared>,
    mongodb: Inquiries<MongodbTarget, Prepared>,
    rabbitmq: Inquiries<RabbitmqTarget, ()>,
}

impl Default for NetworkServers {
    fn default() -> Self {
        Self {
            postgres: Inquiries::new("PostgreSQL"),
            mongodb: Inquiries::new("MongoDB"),
            rabbitmq: Inquiries::new("RabbitMQ"),
        }
    }
}

impl Servers for NetworkServers {
    fn postgres<'a>(&'a self, target: &'a PostgresTarget) -> BoxFuture<'a, Result<Prepared, ServerFailure>> {
        Box::pin(self.postgres.ask(target, postgres::prepare))
    }

    fn mongodb<'a>(&'a self, target: &'a MongodbTarget) -> BoxFuture<'a, Result<Prepared, ServerFailure>> {
        Box::pin(self.mongodb.ask(target, mongodb::prepare))
    }

    fn rabbitmq<'a>(&'a self, target: &'a RabbitmqTarget) -> BoxFuture<'a, Result<(), ServerFailure>> {
        Box::pin(self.rabbitmq.ask(target, rabbitmq::check))
    }
}

/// Writes a CA certificate to a file, for a driver that takes only paths.
async fn authority_file(pem: &str) -> Result<std::path::PathBuf, ServerFailure> {
    let path = std::env::temp_dir().join(format!("authority-{}.pem", crate::resource::hash(&pem.into())));
    tokio::fs::write(&path, pem)
        .await
        .map_err(|error| ServerFailure::Refused(format!("cannot write the CA certificate: {error}")))?;
    Ok(path)
}

/// Whether the error means wrong credentials.
fn is_mongodb_auth(error: &driver::error::Error) -> bool {
    match error.kind.as_ref() {
        driver::error::ErrorKind::Authentication { .. } => true,
        // 13 Unauthorized, 18 AuthenticationFailed
        driver::error::ErrorKind::Command(command) => matches!(command.code, 13 | 18),
        _ => false,
    }
}
