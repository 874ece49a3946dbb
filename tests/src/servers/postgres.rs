//! PostgreSQL: one cluster, password authentication, TCP on loopback only.
//!
//! PostgreSQL refuses to run as root; there, it runs as the `postgres` user that its package creates.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, geteuid};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::{Durability, START_LIMIT, STOP_PATIENCE, write_private};
use crate::process::{Daemon, Spec};
use crate::{ports, wait};

const SUPERUSER: &str = "eventplatform";
const SYSTEM_USER: &str = "postgres";
/// Where clusters lie that the `postgres` user cannot reach inside a cache folder below /root.
const SYSTEM_USER_HOME: &str = "/var/lib/postgresql";

/// A running PostgreSQL server.
pub struct Postgres {
    port: u16,
    password: String,
    data: PathBuf,
    daemon: Daemon,
}

impl Postgres {
    /// Starts the cluster in `dir`, creating it where there is none, and waits until it answers.
    pub async fn start(dir: &Path, durability: Durability, password: &str) -> Result<Self> {
        let bin = binaries()?;
        let user = geteuid().is_root().then_some(SYSTEM_USER);
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let log = dir.join("postgres.log");
        let data = data_folder(dir, user)?;
        if !data.join("PG_VERSION").exists() {
            initialize(&bin, &data, user, password).await?;
        }

        let port = ports::free()?;
        let settings = settings(port, durability);
        let folder = data.clone();
        let daemon = Daemon::start(move || {
            let args = settings.iter().flat_map(|setting| ["-c", setting.as_str()]);
            Spec::new("PostgreSQL", bin.join("postgres"))
                .args(["-D"])
                .args([&folder])
                .args(args)
                .dir("/")
                .user(user)
                .stop_signal(Signal::INT)
                .log_to(&log)
        })?;
        let server = Self { port, password: password.to_owned(), data, daemon };
        server.ready().await?;
        Ok(server)
    }

    /// The superuser's URL of a database.
    pub fn url(&self, database: &str) -> String {
        self.url_for(SUPERUSER, &self.password, database)
    }

    /// A role's URL of a database. The password is taken as it is: letters and digits only.
    pub fn url_for(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes sure of a role with that password and of a database of its own, both with that name.
    pub async fn ensure_database(&self, name: &str, password: &str) -> Result<String> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let role: Option<i32> = sqlx::query_scalar("select 1 from pg_roles where rolname = $1")
            .bind(name)
            .fetch_optional(&mut connection)
            .await?;
        let verb = if role.is_some() { "alter" } else { "create" };
        let statement = format!("{verb} role \"{name}\" login password '{password}'");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;

        let database: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1")
            .bind(name)
            .fetch_optional(&mut connection)
            .await?;
        if database.is_none() {
            let statement = format!("create database \"{name}\" owner \"{name}\"");
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
            let statement = format!("revoke all on database \"{name}\" from public");
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        connection.close().await?;
        Ok(self.url_for(name, password, name))
    }

    /// A small pool of superuser connections to a database, for checks.
    pub async fn pool(&self, database: &str) -> Result<PgPool> {
        Ok(PgPoolOptions::new().max_connections(4).connect(&self.url(database)).await?)
    }

    /// Ends every connection, then the server; its data stays.
    pub async fn stop(&self) {
        self.daemon.stop(STOP_PATIENCE).await;
    }

    /// Stops it and removes its data, wherever that lies.
    pub async fn remove(self) -> Result<()> {
        self.stop().await;
        fs::remove_dir_all(&self.data).with_context(|| format!("cannot remove {}", self.data.display()))
    }

    /// Kills it like `kill -9`.
    pub async fn kill(&self) {
        self.daemon.kill().await;
    }

    /// Starts it again on the same port, unless it runs, and waits until it answers.
    pub async fn up(&self) -> Result<()> {
        self.daemon.up().await?;
        self.ready().await
    }

    async fn ready(&self) -> Result<()> {
        let url = self.url("postgres");
        let connect = async || -> Result<()> {
            self.daemon.check_running().await?;
            Ok(PgConnection::connect(&url).await?.close().await?)
        };
        wait::until("PostgreSQL answers", START_LIMIT, connect).await
    }
}

/// The folder of `initdb` and `postgres`: `PG_BIN`, or the newest version that Debian's packages installed.
fn binaries() -> Result<PathBuf> {
    if let Some(bin) = env::var_os("PG_BIN") {
        let bin = PathBuf::from(bin);
        if !bin.join("initdb").is_file() {
            bail!("PG_BIN={} holds no initdb", bin.display());
        }
        return Ok(bin);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok().map(|version| (version, entry.path())))
        .max_by_key(|(version, _)| *version);
    let (_, path) = newest.context("no PostgreSQL found: run .ci/install, or set PG_BIN to a folder with initdb")?;
    Ok(path.join("bin"))
}

/// `data` inside `dir`; or, where the `postgres` user cannot reach that, a folder below its home, linked from there.
fn data_folder(dir: &Path, user: Option<&'static str>) -> Result<PathBuf> {
    let data = dir.join("data");
    let Some(user) = user else {
        fs::create_dir_all(&data)?;
        return Ok(data);
    };
    if let Ok(target) = fs::read_link(&data) {
        if target.exists() {
            return Ok(target);
        }
        fs::remove_file(&data)?;
    }
    fs::create_dir_all(&data)?;
    own(&data, user)?;
    let reach = Spec::new("reach", "/usr/bin/test").args(["-w"]).args([&data]).user(Some(user)).dir("/");
    if reach.run().is_ok() {
        return Ok(data);
    }
    fs::remove_dir(&data).with_context(|| format!("{} is not empty", data.display()))?;
    let home = Path::new(SYSTEM_USER_HOME).join(format!("eventplatform-{:08x}", rand::random::<u32>()));
    fs::create_dir_all(&home)?;
    own(&home, user)?;
    symlink(&home, &data)?;
    Ok(home)
}

fn own(path: &Path, user: &str) -> Result<()> {
    Spec::new("chown", "/bin/chown").args([user]).args([path]).run()
}

async fn initialize(bin: &Path, data: &Path, user: Option<&'static str>, password: &str) -> Result<()> {
    let password_file = tempfile::NamedTempFile::new()?;
    write_private(password_file.path(), password)?;
    if let Some(user) = user {
        own(password_file.path(), user)?;
    }
    let initdb = Spec::new("initdb", bin.join("initdb"))
        .args(["--username", SUPERUSER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
        .args(["--pwfile".as_ref(), password_file.path(), "--pgdata".as_ref(), data])
        .dir("/")
        .user(user);
    tokio::task::spawn_blocking(|| initdb.run()).await?
}

fn settings(port: u16, durability: Durability) -> Vec<String> {
    let sync = if durability == Durability::Synced { "on" } else { "off" };
    vec![
        format!("port={port}"),
        format!("fsync={sync}"),
        format!("synchronous_commit={sync}"),
        format!("full_page_writes={sync}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "max_connections=400".to_owned(),
        "timezone=UTC".to_owned(),
        "log_line_prefix=%m [%p] %u@%d ".to_owned(),
        "max_wal_size=256MB".to_owned(),
    ]
}
