//! The ServiceMonitor by which the Prometheus operator finds the admin ports. k8s-openapi has no type for it.

use serde_json::json;

use crate::{
    blueprint::Blueprint,
    resource::{Kind, Resource},
};

/// One ServiceMonitor for all programs. It selects the Services with a port named `admin`.
pub fn service_monitor(blueprint: &Blueprint<'_>) -> Resource {
    let mut metadata = blueprint.identity.metadata("", "");
    // Ours win: the operator finds its objects by them.
    let mut labels = blueprint.spec.monitoring.labels.clone();
    labels.extend(metadata.labels.take().unwrap_or_default());
    metadata.labels = Some(labels);
    let spec = json!({
        "selector": blueprint.identity.platform_selector(),
        "endpoints": [{ "port": "admin", "path": "/metrics", "interval": "30s" }],
        "targetLabels": ["app.kubernetes.io/component"],
    });
    Resource::dynamic(Kind::ServiceMonitor, metadata, &spec)
}
