//! The servers: PostgreSQL, MongoDB and RabbitMQ from the official images, with volumes and probes that log in.

mod mongodb;
mod postgres;
mod rabbitmq;

use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction, ObjectFieldSelector,
            PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Probe, TCPSocketAction, Volume,
            VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use crate::{
    blueprint::Blueprint,
    build::pod::{self, SERVER_UID},
    crd::{DeletionPolicy, PullPolicy, Resources, Storage},
    credentials::Credential,
    resource::CONFIG_HASH_ANNOTATION,
};

/// Mount path of a server's credentials.
const CREDENTIALS_DIR: &str = "/etc/eventplatform/credentials";

/// What differs between the servers.
struct Server<'a> {
    name: &'static str,
    replicas: i32,
    storage: &'a Storage,
    resources: Option<&'a Resources>,
    credential: Credential,
    /// Hash of the configuration that is read at startup.
    config_hash: Option<String>,
    grace_seconds: i64,
    data_dir: &'static str,
    /// Directories that must be writable besides the data directory.
    writable: &'static [&'static str],
    volumes: Vec<(Volume, VolumeMount)>,
    init: Option<Container>,
    container: Container,
}

/// The StatefulSets of the managed servers.
pub fn stateful_sets(blueprint: &Blueprint<'_>) -> Vec<StatefulSet> {
    let servers = [postgres::server(blueprint), mongodb::server(blueprint), rabbitmq::server(blueprint)];
    servers.into_iter().flatten().map(|server| stateful_set(blueprint, server)).collect()
}

fn stateful_set(blueprint: &Blueprint<'_>, server: Server<'_>) -> StatefulSet {
    let identity = blueprint.identity;
    let name = server.name;
    // While stopping, programs go first, so that their last writes still reach the servers.
    let replicas = if blueprint.is_stopped() && !blueprint.programs_running { 0 } else { server.replicas };
    let when_deleted = if blueprint.spec.deletion.policy == DeletionPolicy::Delete { "Delete" } else { "Retain" };
    let pod_metadata = ObjectMeta {
        labels: Some(identity.labels(name)),
        annotations: server.config_hash.clone().map(|hash| [(CONFIG_HASH_ANNOTATION.to_owned(), hash)].into()),
        ..Default::default()
    };
    StatefulSet {
        metadata: identity.metadata(name, name),
        spec: StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(identity.resource_name(&format!("{name}-nodes"))),
            pod_management_policy: Some("Parallel".to_owned()),
            revision_history_limit: Some(3),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..Default::default()
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some(when_deleted.to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            selector: identity.selector(name),
            volume_claim_templates: Some(vec![volume_claim(blueprint, name, server.storage)]),
            template: PodTemplateSpec { metadata: Some(pod_metadata), spec: Some(pod_spec(blueprint, server)) },
            ..Default::default()
        },
        ..Default::default()
    }
}

fn volume_claim(blueprint: &Blueprint<'_>, component: &str, storage: &Storage) -> PersistentVolumeClaim {
    let requests = [("storage".to_owned(), Quantity(storage.size.clone()))].into();
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(blueprint.identity.labels(component)),
            ..Default::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            volume_mode: Some("Filesystem".to_owned()),
            storage_class_name: storage.class_name.clone(),
            resources: Some(VolumeResourceRequirements { requests: Some(requests), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn pod_spec(blueprint: &Blueprint<'_>, server: Server<'_>) -> PodSpec {
    let secret = blueprint.identity.resource_name(server.credential.suffix());
    let mut volumes = vec![pod::secret_volume("credentials", &secret, None)];
    let mut mounts = vec![pod::mount("data", server.data_dir), pod::read_only_mount("credentials", CREDENTIALS_DIR)];
    for (index, path) in server.writable.iter().enumerate() {
        let name = format!("writable-{index}");
        mounts.push(pod::mount(&name, path));
        volumes.push(Volume { name, empty_dir: Some(EmptyDirVolumeSource::default()), ..Default::default() });
    }
    for (volume, mount) in server.volumes {
        volumes.push(volume);
        mounts.push(mount);
    }
    let resources = pod::resources(server.resources, &pod::default_resources("100m", "256Mi", "1Gi"));
    let complete = |container: Container| Container {
        // The spec's policy is for the programs' images; to change it must not restart databases.
        image_pull_policy: Some(PullPolicy::IfNotPresent.into_str().to_owned()),
        resources: Some(resources.clone()),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts.clone()),
        ..container
    };
    PodSpec {
        termination_grace_period_seconds: Some(server.grace_seconds),
        topology_spread_constraints: Some(pod::spread(blueprint, server.name)),
        init_containers: server.init.map(|init| vec![complete(init)]),
        containers: vec![complete(server.container)],
        volumes: Some(volumes),
        ..pod::pod_spec(blueprint, SERVER_UID)
    }
}

/// Prepares files before the server starts.
fn init_container(name: &str, image: &str, script: &str) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        command: Some(bash(script)),
        ..Default::default()
    }
}

fn bash(script: &str) -> Vec<String> {
    ["bash", "-euc", script].map(str::to_owned).into()
}

fn pod_name() -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "metadata.name".to_owned() };
    EnvVar {
        name: "POD_NAME".to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..Default::default() }),
        ..Default::default()
    }
}

fn exec_probe(script: &str, period_seconds: i32, timeout_seconds: i32, failures: i32) -> Probe {
    let exec = Some(ExecAction { command: Some(bash(script)) });
    Probe { exec, ..probe(period_seconds, timeout_seconds, failures) }
}

/// Whether a named port accepts connections.
fn tcp_probe(port: &str, period_seconds: i32, failures: i32) -> Probe {
    let tcp_socket = Some(TCPSocketAction { port: IntOrString::String(port.to_owned()), ..Default::default() });
    Probe { tcp_socket, ..probe(period_seconds, 5, failures) }
}

fn probe(period_seconds: i32, timeout_seconds: i32, failures: i32) -> Probe {
    Probe {
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(timeout_seconds),
        failure_threshold: Some(failures),
        ..Default::default()
    }
}
