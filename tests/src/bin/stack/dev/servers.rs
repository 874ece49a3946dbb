//! The servers of `stack dev`: child processes, or the containers of compose.yaml where their programs are absent.

use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Context, Result, ensure};
use eventplatform_tests::servers::Servers;
use eventplatform_tests::{paths, ports};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::process::Command;

/// The name under which Docker keeps containers and volumes.
const PROJECT: &str = "eventplatform-dev";

/// The three servers, with data that stays.
pub(super) enum DevServers {
    /// Of this machine's own packages.
    Processes(Box<Servers>),
    /// Of official images.
    Containers(Containers),
}

/// Running containers, by the ports on the loopback interface that lead to them.
pub(super) struct Containers {
    ports: [u16; 3],
    password: String,
}

impl DevServers {
    /// Starts them. The password has to be the same every time.
    pub(super) async fn start(dir: &Path, password: &str) -> Result<Self> {
        if Servers::are_installed() || !has_docker().await {
            return Ok(Self::Processes(Box::new(Servers::lasting(dir, password).await?)));
        }
        let containers =
            Containers { ports: [ports::free()?, ports::free()?, ports::free()?], password: password.to_owned() };
        containers.compose(&["up", "--detach", "--wait"]).await?;
        Ok(Self::Containers(containers))
    }

    /// The URL of PostgreSQL's superuser.
    pub(super) fn postgres_url(&self) -> String {
        match self {
            Self::Processes(servers) => servers.postgres.url(),
            Self::Containers(Containers { ports: [postgres, ..], password }) => {
                format!("postgres://eventplatform:{password}@127.0.0.1:{postgres}/postgres")
            }
        }
    }

    /// The URL of MongoDB.
    pub(super) fn mongodb_url(&self) -> String {
        match self {
            Self::Processes(servers) => servers.mongodb.url(),
            // The member knows itself by an address inside of its container.
            Self::Containers(Containers { ports: [_, mongodb, _], .. }) => {
                format!("mongodb://127.0.0.1:{mongodb}/?replicaSet=rs0&directConnection=true")
            }
        }
    }

    /// The URL of RabbitMQ.
    pub(super) fn amqp_url(&self) -> String {
        match self {
            Self::Processes(servers) => servers.rabbitmq.url(),
            Self::Containers(Containers { ports: [.., rabbitmq], password }) => {
                format!("amqp://eventplatform:{password}@127.0.0.1:{rabbitmq}/%2f")
            }
        }
    }

    /// The servers that end by themselves, each with its name. Docker starts its containers again.
    pub(super) fn ends(&self) -> FuturesUnordered<BoxFuture<'_, (String, Option<ExitStatus>)>> {
        let ends = FuturesUnordered::<BoxFuture<_>>::new();
        if let Self::Processes(servers) = self {
            ends.push(async { ("PostgreSQL".to_owned(), servers.postgres.ended().await) }.boxed());
            ends.push(async { ("RabbitMQ".to_owned(), servers.rabbitmq.ended().await) }.boxed());
            ends.push(async { ("MongoDB".to_owned(), servers.mongodb.ended().await) }.boxed());
        }
        ends
    }

    /// Stops them; their data stays.
    pub(super) async fn stop(self) -> Result<()> {
        match self {
            Self::Processes(servers) => servers.stop().await,
            Self::Containers(containers) => containers.compose(&["stop"]).await,
        }
    }
}

impl Containers {
    async fn compose(&self, arguments: &[&str]) -> Result<()> {
        let mut docker = Command::new("docker");
        docker.args(["compose", "--project-name", PROJECT, "--file"]).arg(paths::workspace().join("compose.yaml"));
        let variables = ["POSTGRES_PORT", "MONGODB_PORT", "RABBITMQ_PORT"].into_iter().zip(self.ports);
        docker.envs(variables.map(|(name, port)| (name, port.to_string())));
        docker.env("EVENTPLATFORM_DEV_PASSWORD", &self.password).args(arguments);
        let status = docker.status().await.context("cannot start docker")?;
        ensure!(status.success(), "docker compose {}: {status}", arguments.join(" "));
        Ok(())
    }
}

async fn has_docker() -> bool {
    let info = Command::new("docker").arg("info").output().await;
    info.is_ok_and(|output| output.status.success())
}
