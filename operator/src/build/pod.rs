//! What all pods share: the `restricted` Pod Security standard, resources, scheduling, environment and volumes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ContainerPort, EnvVar, EnvVarSource, KeyToPath, LocalObjectReference, PodSecurityContext,
        PodSpec, ResourceRequirements, SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext,
        TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{blueprint::Blueprint, crd::Resources};

/// The user of the platform's own images.
pub const PROGRAM_UID: i64 = 65532;
/// The user of the official images of PostgreSQL, MongoDB and RabbitMQ.
pub const SERVER_UID: i64 = 999;

/// The fields that every pod has, with processes that run as `uid`.
pub fn pod_spec(blueprint: &Blueprint<'_>, uid: i64) -> PodSpec {
    let pull_secrets = blueprint.spec.image.pull_secrets.iter();
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: Some(
            pull_secrets.map(|secret| LocalObjectReference { name: secret.name.clone() }).collect(),
        ),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(uid),
            run_as_group: Some(uid),
            fs_group: Some(uid),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Default::default() }),
        ..Default::default()
    }
}

/// The resources in the spec, or the defaults.
pub fn resources(spec: Option<&Resources>, default: &Resources) -> ResourceRequirements {
    let spec = spec.unwrap_or(default);
    let quantities = |quantities: &BTreeMap<String, String>| {
        let quantity = |(name, value): (&String, &String)| (name.clone(), Quantity(value.clone()));
        (!quantities.is_empty()).then(|| quantities.iter().map(quantity).collect())
    };
    ResourceRequirements {
        requests: quantities(&spec.requests),
        limits: quantities(&spec.limits),
        ..Default::default()
    }
}

/// Requests of CPU and memory, and a limit of memory. A CPU limit would only add latency.
pub fn default_resources(cpu: &str, memory: &str, memory_limit: &str) -> Resources {
    let quantity = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Resources {
        requests: [quantity("cpu", cpu), quantity("memory", memory)].into(),
        limits: [quantity("memory", memory_limit)].into(),
    }
}

/// Spreads the pods of `component` over nodes and zones where possible.
pub fn spread(blueprint: &Blueprint<'_>, component: &str) -> Vec<TopologySpreadConstraint> {
    let constraint = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(blueprint.identity.selector(component)),
        ..Default::default()
    };
    vec![constraint("kubernetes.io/hostname"), constraint("topology.kubernetes.io/zone")]
}

pub fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }
}

pub fn env(name: impl Into<String>, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), ..Default::default() }
}

/// An environment variable from a Secret. Unlike a mounted file, it keeps its value while the container runs.
pub fn env_from_secret(name: &str, secret: &str, key: &str) -> EnvVar {
    let selector = SecretKeySelector { name: secret.to_owned(), key: key.to_owned(), ..Default::default() };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource { secret_key_ref: Some(selector), ..Default::default() }),
        ..Default::default()
    }
}

/// A volume with the given keys of a Secret, or with all of them, readable by the pod's group.
pub fn secret_volume(name: &str, secret: &str, keys: Option<&[&str]>) -> Volume {
    let item = |key: &&str| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), ..Default::default() };
    let source = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        default_mode: Some(0o440),
        items: keys.map(|keys| keys.iter().map(item).collect()),
        ..Default::default()
    };
    Volume { name: name.to_owned(), secret: Some(source), ..Default::default() }
}

pub fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..Default::default() }
}

pub fn read_only_mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(name, path) }
}
