//! PostgreSQL, RabbitMQ and MongoDB as child processes on free loopback ports.

mod mongodb;
mod postgres;
mod rabbitmq;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::distr::{Alphanumeric, SampleString};
use tempfile::TempDir;

pub use self::mongodb::{MongoDb, MongoKind};
pub use self::postgres::Postgres;
pub use self::rabbitmq::RabbitMq;

/// How long a server may take from its start to its first answer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Whether a server's data has to outlive a crash of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// Every commit reaches the disk.
    Synced,
    /// Commits survive a killed server, not a power cut; for tests.
    Unsynced,
}

/// A random password of letters and digits.
pub fn random_password() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 24)
}

/// The three servers, with data in a temporary folder that goes away with them.
pub struct Servers {
    /// PostgreSQL; its superuser may create databases and roles.
    pub postgres: Postgres,
    /// RabbitMQ, one node.
    pub rabbitmq: RabbitMq,
    /// MongoDB, a replica set of one member.
    pub mongodb: MongoDb,
    folder: TempDir,
}

impl Servers {
    /// Starts all three at the same time and waits until each answers.
    pub async fn throwaway(durability: Durability) -> Result<Self> {
        let folder = scratch_folder()?;
        let password = random_password();
        let dir = |name| folder.path().join(name);
        let (postgres_dir, rabbitmq_dir, mongodb_dir) = (dir("postgres"), dir("rabbitmq"), dir("mongodb"));
        let (postgres, rabbitmq, mongodb) = tokio::try_join!(
            Postgres::start(&postgres_dir, durability, &password),
            RabbitMq::start(&rabbitmq_dir, &password),
            MongoDb::start(&mongodb_dir),
        )?;
        Ok(Self { postgres, rabbitmq, mongodb, folder })
    }

    /// The variables by which tests find the servers.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("TEST_POSTGRES_URL", self.postgres.url("postgres")),
            ("TEST_AMQP_URL", self.rabbitmq.url()),
            ("TEST_MONGODB_URL", self.mongodb.url()),
            ("TEST_MONGODB_KIND", self.mongodb.kind().to_string()),
        ]
    }

    /// Stops all three and removes their data.
    pub async fn stop(self) -> Result<()> {
        let (removed, (), ()) = tokio::join!(self.postgres.remove(), self.rabbitmq.stop(), self.mongodb.stop());
        removed?;
        self.folder.close().context("cannot remove the servers' data")
    }
}

/// A temporary folder that the user `postgres` may pass through.
pub fn scratch_folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("eventplatform-").tempdir().context("no temporary folder")?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711))?;
    Ok(folder)
}

/// Writes a file that only its owner may read.
fn write_private(file: &Path, text: &str) -> Result<()> {
    let write = || {
        std::fs::write(file, text)?;
        std::fs::set_permissions(file, Permissions::from_mode(0o600))
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}
