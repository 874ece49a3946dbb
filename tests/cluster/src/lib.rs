//! What the cluster suite is written with: namespaces of their own, platforms in them, and waiting for what they say.
//!
//! The cluster is the one of `KUBECONFIG`; `make test-cluster` makes it, with the operator, its images and an ingress.

mod ingress;
mod namespace;
mod pods;
pub mod specs;

use std::env;

use anyhow::{Context, Result, ensure};
use eventplatform_tests::paths::workspace;
use kube::Client;
use tokio::process::Command;

pub use self::ingress::every_route_answers;
pub use self::namespace::{Namespace, READY_LIMIT, REPAIR_LIMIT, condition, message};
pub use self::pods::{Execution, exec, is_running};

/// The API server of the cluster.
pub async fn client() -> Result<Client> {
    Client::try_default().await.context("no cluster: run `make test-cluster`")
}

/// A variable that `make test-cluster` sets.
pub fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run `make test-cluster`"))
}

/// Runs a program, with `input` on its standard input; what it said on failure is the error.
pub async fn run(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    use std::process::Stdio;

    use tokio::io::AsyncWriteExt;

    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(workspace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{program} {}: {said}{complained}", arguments.join(" "));
    Ok(said.into_owned())
}
