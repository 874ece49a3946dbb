//! ConfigMaps: RabbitMQ's configuration. Everything else is told by environment variables.

use serde_json::json;

use crate::{
    build::{Blueprint, connections::pod_host},
    child::{Child, Kind},
};

/// The ConfigMap with RabbitMQ's configuration, without the platform's name.
pub const RABBITMQ_SUFFIX: &str = "rabbitmq-config";
/// Where RabbitMQ finds its configuration.
pub const RABBITMQ_DIR: &str = "/etc/eventplatform/rabbitmq";
/// Where RabbitMQ finds its users.
pub const DEFINITIONS_DIR: &str = "/etc/eventplatform/rabbitmq-definitions";

/// All ConfigMaps of the platform.
pub fn config_maps(blueprint: &Blueprint<'_>) -> Vec<Child> {
    let Some(managed) = &blueprint.spec.rabbitmq.managed else { return Vec::new() };
    let data = json!({ "data": { "rabbitmq.conf": rabbitmq_conf(blueprint, managed.replicas) } });
    vec![Child::new(blueprint.identity, Kind::ConfigMap, RABBITMQ_SUFFIX, "rabbitmq", data)]
}

/// RabbitMQ's configuration. The nodes are listed, so that none needs access to the Kubernetes API.
pub fn rabbitmq_conf(blueprint: &Blueprint<'_>, replicas: i32) -> String {
    let mut lines = vec![
        "listeners.tcp.default = 5672".to_owned(),
        format!("cluster_name = {}", blueprint.identity.name),
        format!("load_definitions = {DEFINITIONS_DIR}/definitions.json"),
        "log.file = false".to_owned(),
        "log.console = true".to_owned(),
        "log.console.level = info".to_owned(),
        "disk_free_limit.absolute = 200MB".to_owned(),
        "cluster_partition_handling = pause_minority".to_owned(),
        "cluster_formation.peer_discovery_backend = classic_config".to_owned(),
    ];
    if replicas == 1 {
        // Alone, a node that counts itself as a minority would pause for ever.
        lines.retain(|line| !line.starts_with("cluster_partition_handling"));
    }
    lines.extend((0..replicas).map(|ordinal| {
        let host = pod_host(blueprint, "rabbitmq", ordinal);
        format!("cluster_formation.classic_config.nodes.{} = rabbit@{host}", ordinal + 1)
    }));
    lines.join("\n") + "\n"
}
