//! The ServiceMonitor by which the Prometheus operator finds the admin ports.

use serde_json::json;

use crate::{
    build::Blueprint,
    child::{Child, Kind, MANAGED_BY},
};

/// One ServiceMonitor for all programs: the Services with a port called `admin`.
pub fn service_monitor(blueprint: &Blueprint<'_>) -> Child {
    let labels = json!({
        "app.kubernetes.io/instance": blueprint.identity.name, "app.kubernetes.io/managed-by": MANAGED_BY,
    });
    let spec = json!({
        "selector": { "matchLabels": labels },
        "endpoints": [{ "port": "admin", "path": "/metrics", "interval": "30s" }],
        "targetLabels": ["app.kubernetes.io/component"],
    });
    Child::new(blueprint.identity, Kind::ServiceMonitor, "", "", json!({ "spec": spec }))
        .labelled(blueprint.spec.monitoring.labels.clone())
}
