//! The ServiceMonitor by which the Prometheus operator finds the admin ports. k8s-openapi has no type for it.

use serde_json::json;

use crate::{
    build::Blueprint,
    resource::{Kind, Resource},
};

/// One ServiceMonitor for all programs. It selects the Services with a port named `admin`.
pub fn service_monitor(blueprint: &Blueprint<'_>) -> Resource {
    let mut metadata = blueprint.identity.metadata("", "");
    metadata.labels.get_or_insert_default().extend(blueprint.spec.monitoring.labels.clone());
    let spec = json!({
        "selector": blueprint.identity.platform_selector(),
        "endpoints": [{ "port": "admin", "path": "/metrics", "interval": "30s" }],
        "targetLabels": ["app.kubernetes.io/component"],
    });
    Resource::dynamic(Kind::ServiceMonitor, metadata, &spec)
}
