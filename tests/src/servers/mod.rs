//! PostgreSQL, RabbitMQ and MongoDB as child processes on free loopback ports.

mod mongodb;
mod postgres;
mod rabbitmq;

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::distr::{Alphanumeric, SampleString};
use tempfile::TempDir;

use crate::wait;

pub use self::mongodb::{MongoDb, MongoKind};
pub use self::postgres::{Postgres, ensure_database};
pub use self::rabbitmq::RabbitMq;

/// How long a server may take from its start to its first answer, on a machine that compiles at the same time.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long a server may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Folder within the servers' folder for temporary files of tests.
const SCRATCH: &str = "scratch";

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

/// The three servers.
pub struct Servers {
    /// PostgreSQL; its superuser may create databases and roles.
    pub postgres: Postgres,
    /// RabbitMQ, one node.
    pub rabbitmq: RabbitMq,
    /// MongoDB, a replica set of one member.
    pub mongodb: MongoDb,
    folder: Option<TempDir>,
}

impl Servers {
    /// Whether PostgreSQL and RabbitMQ are there to be started.
    pub fn are_installed() -> bool {
        Postgres::is_installed() && RabbitMq::is_installed()
    }

    /// Servers with data in a temporary folder that goes away with them.
    pub async fn throwaway(durability: Durability) -> Result<Self> {
        let folder = scratch_folder()?;
        make_passable(&folder.path().join(SCRATCH))?;
        let mut servers = Self::start(folder.path(), durability, &random_password()).await?;
        servers.folder = Some(folder);
        Ok(servers)
    }

    /// Servers with data that stays in `dir`. The password has to be the same every time.
    pub async fn lasting(dir: &Path, password: &str) -> Result<Self> {
        Self::start(dir, Durability::Synced, password).await
    }

    /// Starts all three at the same time and waits until each answers.
    async fn start(dir: &Path, durability: Durability, password: &str) -> Result<Self> {
        let (postgres, rabbitmq, mongodb) = (dir.join("postgres"), dir.join("rabbitmq"), dir.join("mongodb"));
        let (postgres, rabbitmq, mongodb) = tokio::try_join!(
            Postgres::start(&postgres, durability, password),
            RabbitMq::start(&rabbitmq, password),
            MongoDb::start(&mongodb),
        )?;
        Ok(Self { postgres, rabbitmq, mongodb, folder: None })
    }

    /// The variables by which tests find the servers. `TMPDIR` lies within the servers' folder, so that whatever tests
    /// leave there goes away with it.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![
            ("TEST_POSTGRES_URL", self.postgres.url().into()),
            ("TEST_AMQP_URL", self.rabbitmq.url().into()),
            ("TEST_MONGODB_URL", self.mongodb.url().into()),
            ("TEST_MONGODB_KIND", self.mongodb.kind().to_string().into()),
        ];
        if let Some(folder) = &self.folder {
            variables.push(("TMPDIR", folder.path().join(SCRATCH).into()));
        }
        variables
    }

    /// Stops all three, and removes their data unless it is to last.
    pub async fn stop(self) -> Result<()> {
        tokio::join!(self.postgres.stop(), self.rabbitmq.stop(), self.mongodb.stop());
        let Some(folder) = self.folder else { return Ok(()) };
        self.postgres.remove_data()?;
        // Programs that outlived the test that started them may still be writing as they stop.
        let folder = folder.keep();
        wait::until(format!("{} is removed", folder.display()), STOP_PATIENCE, async || {
            Ok(std::fs::remove_dir_all(&folder)?)
        })
        .await
    }
}

/// A temporary folder that the user `postgres` may pass through.
pub fn scratch_folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("eventplatform-").tempdir().context("no temporary folder")?;
    make_passable(folder.path())?;
    Ok(folder)
}

/// Makes a folder, if need be, that other users may pass through but not list.
fn make_passable(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    Ok(std::fs::set_permissions(dir, Permissions::from_mode(0o711))?)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(file: &Path, text: &str) -> Result<()> {
    let write = || {
        std::fs::write(file, text)?;
        std::fs::set_permissions(file, Permissions::from_mode(0o600))
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}
