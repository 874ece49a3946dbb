//! What every pod has alike: the `restricted` Pod Security standard, resources, spreading.

use serde_json::{Map, Value, json};

use crate::{build::Blueprint, crd::Resources};

/// The user of the platform's own images.
pub const OWN_UID: i64 = 65532;
/// The user of the official images of PostgreSQL, MongoDB and RabbitMQ.
pub const SERVER_UID: i64 = 999;

/// Security settings of a pod whose processes run as `uid`.
pub fn pod_security(uid: i64) -> Value {
    json!({
        "runAsNonRoot": true, "runAsUser": uid, "runAsGroup": uid, "fsGroup": uid,
        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// Security settings of every container.
pub fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
    })
}

/// Resources of a container: what the spec says, or the defaults.
pub fn resources(spec: Option<&Resources>, default: &Resources) -> Value {
    let spec = spec.unwrap_or(default);
    let mut resources = Map::new();
    for (name, quantities) in [("requests", &spec.requests), ("limits", &spec.limits)] {
        if !quantities.is_empty() {
            resources.insert(name.to_owned(), json!(quantities));
        }
    }
    Value::Object(resources)
}

/// Defaults of the resources: processor and memory asked for, memory at most. A limit of processor time only adds delays.
pub fn default_resources(cpu: &str, memory: &str, memory_limit: &str) -> Resources {
    let quantity = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Resources {
        requests: [quantity("cpu", cpu), quantity("memory", memory)].into(),
        limits: [quantity("memory", memory_limit)].into(),
    }
}

/// Spreads the pods of `component` over nodes and zones, as far as there are any.
pub fn spread(blueprint: &Blueprint<'_>, component: &str) -> Value {
    let constraint = |key: &str| {
        json!({
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": blueprint.identity.selector(component) },
        })
    };
    json!([constraint("kubernetes.io/hostname"), constraint("topology.kubernetes.io/zone")])
}

/// Secrets with which images are pulled.
pub fn pull_secrets(blueprint: &Blueprint<'_>) -> Value {
    blueprint.spec.image.pull_secrets.iter().map(|secret| json!({ "name": secret.name })).collect()
}

/// How images are pulled.
pub fn pull_policy(blueprint: &Blueprint<'_>) -> Value {
    json!(blueprint.spec.image.pull_policy)
}

/// Environment variables in the form of a container.
pub fn env(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Value> {
    variables.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// An environment variable from a Secret. It keeps its value while the container runs, unlike a mounted file.
pub fn env_from_secret(name: &str, secret: &str, key: &str) -> Value {
    json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": secret, "key": key } } })
}
