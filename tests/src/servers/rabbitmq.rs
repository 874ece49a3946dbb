//! RabbitMQ: one node with a name server (epmd) of its own, AMQP on loopback only, no management plugin.
//!
//! The node is started by the script of the package rather than by Debian's wrapper, which insists on system folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::{Connection, ConnectionProperties};

use super::{START_LIMIT, STOP_PATIENCE, write_private};
use crate::process::{Daemon, Spec};
use crate::{paths, ports, wait};

const USER: &str = "eventplatform";
const NODE_NAME: &str = "eventplatform@localhost";
const DEBIAN_SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A running RabbitMQ node.
pub struct RabbitMq {
    port: u16,
    password: String,
    node: Daemon,
    name_server: Daemon,
    control: Control,
}

/// How its command line tool finds the node.
struct Control {
    dir: PathBuf,
    name_port: String,
}

impl RabbitMq {
    pub(super) fn is_installed() -> bool {
        script().is_ok()
    }

    /// Starts the node with its data in `dir` and waits until it answers. The password counts on the first start.
    pub async fn start(dir: &Path, password: &str) -> Result<Self> {
        let script = script()?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let port = ports::free()?;
        write_private(&dir.join("rabbitmq.conf"), &configuration(port, password))?;
        fs::write(dir.join("enabled_plugins"), "[].\n")?;

        let (name_port, peer_port) = (ports::free()?.to_string(), ports::free()?.to_string());
        let name_server = start_name_server(dir, &name_port)?;
        let dir = dir.to_owned();
        let control = Control { dir: dir.clone(), name_port: name_port.clone() };
        let node = Daemon::start(move || node(&script, &dir, &name_port, &peer_port))?;
        let server = Self { port, password: password.to_owned(), node, name_server, control };
        server.ready().await?;
        Ok(server)
    }

    /// The URL of the default virtual host.
    pub fn url(&self) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}/%2f", self.password, self.port)
    }

    /// The port it listens on for AMQP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops it; durable queues and persistent messages stay.
    pub async fn stop(&self) {
        self.node.stop(STOP_PATIENCE).await;
        self.name_server.kill().await;
    }

    /// Kills it like `kill -9`.
    pub async fn kill(&self) {
        self.node.kill().await;
        self.name_server.kill().await;
    }

    /// Starts it again on the same port, unless it runs, and waits until it answers.
    pub async fn up(&self) -> Result<()> {
        self.name_server.up().await?;
        self.node.up().await?;
        self.ready().await
    }

    /// Runs `rabbitmqctl` with these arguments.
    pub async fn control(&self, args: &[&'static str]) -> Result<()> {
        let script = Path::new(DEBIAN_SCRIPT).with_file_name("rabbitmqctl");
        let script = if script.is_file() { script } else { paths::on_path("rabbitmqctl").context("no rabbitmqctl")? };
        let spec = Spec::new("rabbitmqctl", script)
            .dir(&self.control.dir)
            .env("HOME", &self.control.dir)
            .env("ERL_EPMD_PORT", &self.control.name_port)
            .env("RABBITMQ_NODENAME", NODE_NAME)
            .env("RABBITMQ_CONF_ENV_FILE", self.control.dir.join("rabbitmq-env.conf"))
            .args(args.iter().copied());
        tokio::task::spawn_blocking(|| spec.run()).await?
    }

    /// The process at the root of its tree, while it runs.
    pub async fn pid(&self) -> Option<i32> {
        self.node.pid().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(&self) -> Option<ExitStatus> {
        self.node.ended().await
    }

    async fn ready(&self) -> Result<()> {
        let url = self.url();
        let connect = async || -> Result<()> {
            self.node.check_running().await?;
            let connect = Connection::connect(&url, ConnectionProperties::default());
            let connection = tokio::time::timeout(Duration::from_secs(5), connect).await??;
            Ok(connection.close(200, "ready".into()).await?)
        };
        wait::until("RabbitMQ answers", START_LIMIT, connect).await
    }
}

fn script() -> Result<PathBuf> {
    let debian = PathBuf::from(DEBIAN_SCRIPT);
    if debian.is_file() {
        return Ok(debian);
    }
    paths::on_path("rabbitmq-server").context("no rabbitmq-server found: run .ci/install")
}

fn configuration(port: u16, password: &str) -> String {
    format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\n\
         default_user = {USER}\n\
         default_pass = {password}\n\
         disk_free_limit.absolute = 50MB\n\
         max_message_size = 524288\n\
         log.file = false\n\
         log.console = true\n\
         log.console.level = warning\n"
    )
}

/// In the foreground, so that it ends with the node; a node left alone would leave a daemon behind.
fn start_name_server(dir: &Path, port: &str) -> Result<Daemon> {
    let Some(epmd) = paths::on_path("epmd") else {
        bail!("no epmd on PATH (it comes with Erlang): run .ci/install");
    };
    let (log, port) = (dir.join("epmd.log"), port.to_owned());
    Daemon::start(move || {
        Spec::new("epmd", &epmd).args(["-port", &port, "-address", "127.0.0.1"]).dir("/").log_to(&log)
    })
}

fn node(script: &Path, dir: &Path, name_port: &str, peer_port: &str) -> Spec {
    Spec::new("RabbitMQ", script)
        .dir(dir)
        .env("HOME", dir)
        .env("ERL_EPMD_PORT", name_port)
        .env("RABBITMQ_NODENAME", NODE_NAME)
        .env("RABBITMQ_DIST_PORT", peer_port)
        .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq"))
        .env("RABBITMQ_CONF_ENV_FILE", dir.join("rabbitmq-env.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", dir.join("log"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none")
        .log_to(dir.join("rabbitmq.log"))
}
