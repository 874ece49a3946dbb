//! Commands inside of pods.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::AsyncReadExt;

/// What a command in a pod said, and whether it went well.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Whether it ended with 0.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
}

/// Runs a command in a pod's first container.
pub async fn exec(pods: &Api<Pod>, pod: &str, command: &[&str]) -> Result<Execution> {
    let parameters = AttachParams::default().stderr(false);
    let mut process = pods.exec(pod, command.iter().copied(), &parameters).await?;
    let mut stdout = String::new();
    process.stdout().context("no standard output")?.read_to_string(&mut stdout).await?;
    let status = process.take_status().context("no status")?.await;
    process.join().await?;
    Ok(Execution { success: status.is_some_and(|status| status.status.as_deref() == Some("Success")), stdout })
}

/// Whether a pod's containers were started and have not all ended.
pub fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}
