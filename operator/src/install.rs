//! `apply` and `wait`: what the chart's Job and test need, and whoever wants to see a platform come up.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::Value;

use crate::crd::{ConditionStatus, EventPlatform};

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

/// Waits until the platform `name` is Ready, telling its conditions as they change; without a name, until the API
/// server knows the kind.
///
/// Fails when that takes longer than `limit`, and then says why.
pub async fn wait(namespace: &str, name: Option<&str>, limit: Duration) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("no way to the API server")?;
    let api: Api<EventPlatform> = Api::namespaced(client, namespace);
    let mut told = String::from("nothing was heard of it yet");
    let waiting = async {
        loop {
            match look(&api, name).await {
                Ok(None) => return,
                Ok(Some(state)) | Err(state) if state != told => {
                    tracing::info!("{state}");
                    told = state;
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::time::timeout(limit, waiting).await;
    ended.ok().with_context(|| format!("not ready within {} s: {told}", limit.as_secs()))
}

/// Nothing when there is nothing to wait for any more; otherwise what is waited for.
async fn look(api: &Api<EventPlatform>, name: Option<&str>) -> Result<Option<String>, String> {
    let Some(name) = name else {
        let listed = api.list(&ListParams::default().limit(1)).await;
        return listed.map(|_| None).map_err(|error| error.to_string());
    };
    let platform = api.get(name).await.map_err(|error| error.to_string())?;
    Ok(unready(&platform))
}

/// Why a platform is not Ready, if it is not: about its spec as it is now.
fn unready(platform: &EventPlatform) -> Option<String> {
    let Some(status) = &platform.status else { return Some("the operator has not come to it yet".to_owned()) };
    if status.observed_generation != platform.metadata.generation {
        return Some("the operator has not seen its latest change yet".to_owned());
    }
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    match ready {
        Some(ready) if ready.status == ConditionStatus::True => None,
        Some(ready) => Some(format!("{}: {}", ready.reason, ready.message)),
        None => Some("it has no condition Ready".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ready_means_ready_for_the_present_spec() {
        let platform = |generation: i64, status: &str| -> EventPlatform {
            serde_json::from_value(json!({
                "apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform",
                "metadata": {"name": "demo", "generation": generation}, "spec": {},
                "status": {"observedGeneration": 1, "conditions": [{
                    "type": "Ready", "status": status, "reason": "R", "message": "m", "lastTransitionTime": "",
                }]},
            }))
            .unwrap()
        };

        assert_eq!(unready(&platform(1, "True")), None);
        assert_eq!(unready(&platform(1, "False")), Some("R: m".to_owned()));
        assert!(unready(&platform(2, "True")).unwrap().contains("latest change"));
    }
}
