//! `apply` and `wait`: commands for the chart's Job and test, and for anyone who waits for a platform.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::Value;

use crate::crd::{ConditionStatus, EventPlatform};

/// The field manager of the EventPlatform in the chart.
const FIELD_MANAGER: &str = "eventplatform-chart";
/// How long the API server may take to know the kind, or to become available.
const APPLY_TIMEOUT: Duration = Duration::from_secs(120);

/// Applies the EventPlatform in the JSON file at `path`.
///
/// Fails if the file holds no EventPlatform, if the API server rejects it, and after two minutes without an answer.
pub async fn apply(path: &Path) -> anyhow::Result<()> {
    let text = tokio::fs::read(path).await.with_context(|| format!("cannot read {}", path.display()))?;
    let object: Value = serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let platform: EventPlatform = serde_json::from_value(object.clone())
        .with_context(|| format!("{} does not hold an EventPlatform", path.display()))?;
    let namespace = platform.namespace().context("the EventPlatform has no namespace")?;
    ensure!(!platform.name_any().is_empty(), "the EventPlatform has no name");
    let client = Client::try_default().await.context("cannot reach the API server")?;
    let api: Api<EventPlatform> = Api::namespaced(client, &namespace);
    let attempt = || async {
        // The file's own JSON: serializing the type would claim ownership of defaults too.
        api.patch(&platform.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&object)).await
    };
    let applying = async {
        loop {
            match attempt().await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if !matches!(status.code, 404 | 409 | 429 | 500..) => {
                    anyhow::bail!("the API server rejected it: {}", status.message)
                }
                Err(error) => tracing::info!(%error, "retrying"),
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    tokio::time::timeout(APPLY_TIMEOUT, applying).await.context("the API server did not accept it in time")??;
    tracing::info!(namespace, name = platform.name_any(), "applied");
    Ok(())
}

/// Waits until the platform `name` is Ready and logs what it waits for. Without a name, waits until the API server knows
/// the kind.
///
/// Fails with the last state after `limit`.
pub async fn wait(namespace: &str, name: Option<&str>, limit: Duration) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("cannot reach the API server")?;
    let api: Api<EventPlatform> = Api::namespaced(client, namespace);
    let mut last_state = String::from("no answer yet");
    let waiting = async {
        loop {
            match pending_state(&api, name).await {
                Ok(None) => return,
                Ok(Some(state)) | Err(state) if state != last_state => {
                    tracing::info!("{state}");
                    last_state = state;
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::time::timeout(limit, waiting).await;
    ended.ok().with_context(|| format!("not ready within {} s: {last_state}", limit.as_secs()))
}

/// What is still missing. `None` once the wait is over.
async fn pending_state(api: &Api<EventPlatform>, name: Option<&str>) -> Result<Option<String>, String> {
    let Some(name) = name else {
        let listed = api.list(&ListParams::default().limit(1)).await;
        return listed.map(|_| None).map_err(|error| error.to_string());
    };
    let platform = api.get(name).await.map_err(|error| error.to_string())?;
    Ok(unready_reason(&platform))
}

/// Why a platform is not Ready for its current spec.
fn unready_reason(platform: &EventPlatform) -> Option<String> {
    let Some(status) = &platform.status else { return Some("the operator has not reconciled it yet".to_owned()) };
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
    fn ready_means_ready_for_the_current_spec() {
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

        assert_eq!(unready_reason(&platform(1, "True")), None);
        assert_eq!(unready_reason(&platform(1, "False")), Some("R: m".to_owned()));
        assert!(unready_reason(&platform(2, "True")).unwrap().contains("latest change"));
    }
}
