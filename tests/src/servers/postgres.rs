//! PostgreSQL: one cluster, password authentication, TCP on loopback only.
//!
//! PostgreSQL refuses to run as root; there, it runs as the `postgres` user that its package creates.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, geteuid};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

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
    pub(super) fn is_installed() -> bool {
        binaries().is_ok()
    }

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

    /// The superuser's URL of the database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection, then the server; its data stays.
    pub async fn stop(&self) {
        self.daemon.stop(STOP_PATIENCE).await;
    }

    /// Removes its data, wherever that lies, once it has stopped.
    pub fn remove_data(&self) -> Result<()> {
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

    /// The process at the root of its tree, while it runs.
    pub async fn pid(&self) -> Option<i32> {
        self.daemon.pid().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(&self) -> Option<ExitStatus> {
        self.daemon.ended().await
    }

    async fn ready(&self) -> Result<()> {
        let url = self.url();
        let connect = async || -> Result<()> {
            self.daemon.check_running().await?;
            Ok(PgConnection::connect(&url).await?.close().await?)
        };
        wait::until("PostgreSQL answers", START_LIMIT, connect).await
    }
}

/// Makes sure of a role with that password and of a database of its own, both called `name`; returns the role's URL.
/// `superuser_url` reaches the server as somebody who may do that.
pub async fn ensure_database(superuser_url: &str, name: &str, password: &str) -> Result<String> {
    let mut connection = PgConnection::connect(superuser_url).await?;
    let exists = async |connection: &mut PgConnection, query: &'static str| -> Result<bool> {
        Ok(sqlx::query_scalar::<_, i32>(query).bind(name).fetch_optional(connection).await?.is_some())
    };
    let role = exists(&mut connection, "select 1 from pg_roles where rolname = $1").await?;
    let database = exists(&mut connection, "select 1 from pg_database where datname = $1").await?;

    let verb = if role { "alter" } else { "create" };
    let mut statements = vec![format!("{verb} role \"{name}\" login password '{password}'")];
    if !database {
        statements.push(format!("create database \"{name}\" owner \"{name}\""));
        statements.push(format!("revoke all on database \"{name}\" from public"));
    }
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
    }
    connection.close().await?;

    let (_, server) = superuser_url.rsplit_once('@').context("the superuser's URL has no password")?;
    let (host, _) = server.split_once('/').context("the superuser's URL has no database")?;
    Ok(format!("postgres://{name}:{password}@{host}/{name}"))
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
