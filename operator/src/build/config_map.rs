//! ConfigMaps: RabbitMQ's configuration. All other settings are environment variables.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use crate::{blueprint::Blueprint, build::connections::pod_host};

/// Suffix of the ConfigMap with RabbitMQ's configuration.
pub const RABBITMQ_SUFFIX: &str = "rabbitmq-config";
/// Mount path of RabbitMQ's configuration.
pub const RABBITMQ_DIR: &str = "/etc/eventplatform/rabbitmq";
/// Name of RabbitMQ's configuration in Erlang terms, which a cluster of several nodes has.
pub const ADVANCED_CONFIG: &str = "advanced.config";
/// Mount path of RabbitMQ's definitions.
pub const DEFINITIONS_DIR: &str = "/etc/eventplatform/rabbitmq-definitions";

/// RabbitMQ's configuration, if the operator runs it.
pub fn rabbitmq(blueprint: &Blueprint<'_>) -> Option<ConfigMap> {
    let managed = blueprint.spec.rabbitmq.managed.as_ref()?;
    Some(ConfigMap {
        metadata: blueprint.identity.metadata(RABBITMQ_SUFFIX, "rabbitmq"),
        data: Some(rabbitmq_files(blueprint, managed.replicas)),
        ..Default::default()
    })
}

/// RabbitMQ's configuration files by their names.
pub fn rabbitmq_files(blueprint: &Blueprint<'_>, replicas: i32) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([("rabbitmq.conf".to_owned(), rabbitmq_conf(blueprint, replicas))]);
    if replicas > 1 {
        files.insert(ADVANCED_CONFIG.to_owned(), advanced_config(replicas));
    }
    files
}

/// Gives every quorum queue a member on each node, also those that were declared while nodes were away. Releases before 3.13
/// ignore these settings here, and would not start with them in `rabbitmq.conf`.
fn advanced_config(replicas: i32) -> String {
    format!(
        "[{{rabbit, [\n  {{quorum_membership_reconciliation_enabled, true}},\n  \
         {{quorum_membership_reconciliation_auto_remove, false}},\n  \
         {{quorum_membership_reconciliation_target_group_size, {replicas}}}\n]}}].\n"
    )
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
