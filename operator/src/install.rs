//! `eventplatform-operator apply`: applies an EventPlatform for the chart, once the API server knows the kind.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::Value;

use crate::crd::EventPlatform;

/// The field manager of what the chart asks for.
const FIELD_MANAGER: &str = "eventplatform-chart";
/// How long the API server may take to know the kind, or to come back.
const PATIENCE: Duration = Duration::from_secs(120);

/// Applies the platform in the JSON file at `path`.
///
/// Fails when the file holds no EventPlatform, when the API server refuses it, and after two minutes without an answer.
pub async fn apply(path: &Path) -> anyhow::Result<()> {
    let text = tokio::fs::read(path).await.with_context(|| format!("cannot read {}", path.display()))?;
    let object: Value = serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let platform: EventPlatform =
        serde_json::from_value(object.clone()).with_context(|| format!("{} is no EventPlatform", path.display()))?;
    let namespace = platform.namespace().context("the EventPlatform has no namespace")?;
    ensure!(!platform.name_any().is_empty(), "the EventPlatform has no name");
    let client = Client::try_default().await.context("no way to the API server")?;
    let api: Api<EventPlatform> = Api::namespaced(client, &namespace);
    let attempt = || async {
        // As it stands in the file: a field that is not there is not asked for.
        api.patch(&platform.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&object)).await
    };
    let applying = async {
        loop {
            match attempt().await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if !matches!(status.code, 404 | 409 | 429 | 500..) => {
                    anyhow::bail!("the API server refuses it: {}", status.message)
                }
                Err(error) => tracing::info!(%error, "not yet"),
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, applying).await.context("the API server does not take it")??;
    tracing::info!(namespace, name = platform.name_any(), "applied");
    Ok(())
}
