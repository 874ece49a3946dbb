//! MongoDB: `MONGOD`, else `mongod` on PATH, as a replica set of one member; else SecantusDB from PyPI, which speaks
//! MongoDB's protocol and runs where no package of MongoDB is to be had. For development and tests alone.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail};
use bson::doc;
use mongodb::Client;
use mongodb::options::ClientOptions;

use super::{START_LIMIT, STOP_PATIENCE};
use crate::process::{Daemon, Spec};
use crate::{paths, ports, wait};

const REPLICA_SET: &str = "rs0";
/// `replSetInitiate` on a member that has been initiated before.
const ALREADY_INITIALIZED: i32 = 23;

/// Which program answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MongoKind {
    /// MongoDB itself.
    Mongod,
    /// SecantusDB.
    Secantus,
}

impl fmt::Display for MongoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mongod => "mongod",
            Self::Secantus => "secantus",
        })
    }
}

/// A running MongoDB server.
pub struct MongoDb {
    port: u16,
    kind: MongoKind,
    daemon: Daemon,
}

impl MongoDb {
    /// Starts the server with its data in `dir` and waits until it is a primary.
    pub async fn start(dir: &Path) -> Result<Self> {
        let (kind, program) = find_server()?;
        // The two formats differ: data written by one is not opened by the other.
        let data = dir.join(kind.to_string());
        fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
        let port = ports::free()?;
        let log = dir.join("mongodb.log");
        let daemon = Daemon::start(move || spec(kind, &program, port, &data).dir("/").log_to(&log))?;
        let server = Self { port, kind, daemon };
        server.ready().await?;
        Ok(server)
    }

    /// Which program answers.
    pub fn kind(&self) -> MongoKind {
        self.kind
    }

    /// The URL for clients. SecantusDB slows down with every retryable write, so its clients do without.
    pub fn url(&self) -> String {
        let options = match self.kind {
            MongoKind::Mongod => "directConnection=true",
            MongoKind::Secantus => "directConnection=true&retryWrites=false",
        };
        format!("mongodb://127.0.0.1:{}/?{options}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client, for checks.
    pub async fn client(&self) -> Result<Client> {
        let mut options = ClientOptions::parse(self.url()).await?;
        options.server_selection_timeout = Some(Duration::from_secs(5));
        Ok(Client::with_options(options)?)
    }

    /// Stops it; its data stays.
    pub async fn stop(&self) {
        self.daemon.stop(STOP_PATIENCE).await;
    }

    /// Kills it like `kill -9`.
    pub async fn kill(&self) {
        self.daemon.kill().await;
    }

    /// Starts it again on the same port, unless it runs, and waits until it is a primary.
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
        let client = self.client().await?;
        let admin = client.database("admin");
        wait::until("MongoDB is a primary", START_LIMIT, async || -> Result<()> {
            self.daemon.check_running().await?;
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await?;
            if self.kind == MongoKind::Mongod {
                self.initiate(&client).await?;
            }
            let hello = admin.run_command(doc! { "hello": 1 }).await?;
            match hello.get_bool("isWritablePrimary") {
                Ok(true) => Ok(()),
                _ => bail!("not yet a primary: {hello}"),
            }
        })
        .await
    }

    async fn initiate(&self, client: &Client) -> Result<()> {
        let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", self.port) };
        let config = doc! { "_id": REPLICA_SET, "members": [member] };
        let command = doc! { "replSetInitiate": config.clone() };
        match client.database("admin").run_command(command).await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some(ALREADY_INITIALIZED) => self.move_member(client, config).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Data that stays was initiated on the port of an earlier run; the member has to be told its present one.
    async fn move_member(&self, client: &Client, mut config: bson::Document) -> Result<()> {
        let admin = client.database("admin");
        let answer = admin.run_command(doc! { "replSetGetConfig": 1 }).await?;
        let present = answer.get_document("config").map_err(|error| anyhow!(error))?;
        let members = present.get_array("members").map_err(|error| anyhow!(error))?;
        let host = members.first().and_then(|member| member.as_document()?.get_str("host").ok());
        if host == Some(format!("127.0.0.1:{}", self.port).as_str()) {
            return Ok(());
        }
        config.insert("version", present.get_i32("version").unwrap_or(1) + 1);
        admin.run_command(doc! { "replSetReconfig": config, "force": true }).await?;
        Ok(())
    }
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

fn find_server() -> Result<(MongoKind, PathBuf)> {
    if let Some(mongod) = env::var_os("MONGOD").filter(|path| !path.is_empty()) {
        let mongod = PathBuf::from(mongod);
        if !mongod.is_file() {
            bail!("MONGOD={} is not a file", mongod.display());
        }
        return Ok((MongoKind::Mongod, mongod));
    }
    if let Some(mongod) = paths::on_path("mongod") {
        return Ok((MongoKind::Mongod, mongod));
    }
    let secantus = paths::cache()?.join("secantus/bin/secantusd-py");
    if secantus.is_file() {
        return Ok((MongoKind::Secantus, secantus));
    }
    bail!("no MongoDB found: run .ci/install, put mongod on PATH, or set MONGOD to one")
}

fn spec(kind: MongoKind, program: &Path, port: u16, data: &Path) -> Spec {
    let spec = Spec::new("MongoDB", program).args(["--port", &port.to_string()]);
    match kind {
        MongoKind::Mongod => spec.args(["--bind_ip", "127.0.0.1", "--replSet", REPLICA_SET, "--dbpath"]).args([data]),
        MongoKind::Secantus => spec
            .args(["--host", "127.0.0.1", "--sync-on-commit", "--log-level", "WARNING", "--storage-path"])
            .args([data]),
    }
}
