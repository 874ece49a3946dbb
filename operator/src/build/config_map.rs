//! ConfigMaps: RabbitMQ's configuration. All other settings are environment variables.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::build::{Blueprint, connections::pod_host};

/// Suffix of the ConfigMap with RabbitMQ's configuration.
pub const RABBITMQ_SUFFIX: &str = "rabbitmq-config";
/// Mount path of RabbitMQ's configuration.
pub const RABBITMQ_DIR: &str = "/etc/eventplatform/rabbitmq";
/// Mount path of RabbitMQ's definitions.
pub const DEFINITIONS_DIR: &str = "/etc/eventplatform/rabbitmq-definitions";

/// RabbitMQ's configuration, if the operator runs it.
pub fn rabbitmq(blueprint: &Blueprint<'_>) -> Option<ConfigMap> {
    let managed = blueprint.spec.rabbitmq.managed.as_ref()?;
    Some(ConfigMap {
        metadata: blueprint.identity.metadata(RABBITMQ_SUFFIX, "rabbitmq"),
        data: Some([("rabbitmq.conf".to_owned(), rabbitmq_conf(blueprint, managed.replicas))].into()),
        ..Default::default()
    })
}

/// The text of `rabbitmq.conf`. It lists the nodes, so that RabbitMQ needs no access to the Kubernetes API.
pub fn rabbitmq_conf(blueprint: &Blueprint<'_>, replicas: i32) -> String {
    let mut lines = vec![
        "listeners.tcp.default = 5672".to_owned(),
        format!("cluster_name = {}", blueprint.identity.name),
        format!("load_definitions = {DEFINITIONS_DIR}/definitions.json"),
        "log.file = false".to_owned(),
        "log.console = true".to_owned(),
        "log.console.level = info".to_owned(),
        "disk_free_limit.absolute = 200MB".to_owned(),
    ];
    // A single node would count as a minority and pause forever.
    if replicas > 1 {
        lines.push("cluster_partition_handling = pause_minority".to_owned());
    }
    lines.push("cluster_formation.peer_discovery_backend = classic_config".to_owned());
    lines.extend((0..replicas).map(|ordinal| {
        let host = pod_host(blueprint, "rabbitmq", ordinal);
        format!("cluster_formation.classic_config.nodes.{} = rabbit@{host}", ordinal + 1)
    }));
    lines.join("\n") + "\n"
}
