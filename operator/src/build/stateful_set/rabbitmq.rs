//! RabbitMQ: a cluster of one or three nodes that imports its users and permissions at every boot.

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, Container, Volume};
use serde_json::json;

use super::{Server, exec_probe, init_container, pod_name, tcp_probe};
use crate::{
    blueprint::Blueprint,
    build::{
        config_map::{ADVANCED_CONFIG, DEFINITIONS_DIR, RABBITMQ_DIR, RABBITMQ_SUFFIX, rabbitmq_conf, rabbitmq_files},
        connections::MANAGED_ADMIN,
        pod,
        secret::{DEFINITIONS_SUFFIX, definitions},
    },
    credentials::Credential,
    resource::hash,
};

/// The cookie must be readable by its owner only. If the Secret was emptied, the cookie on the volume stays.
const INIT: &str = "\
umask 077
if [ -s /etc/eventplatform/credentials/erlang-cookie ]; then
  rm -f /var/lib/rabbitmq/.erlang.cookie
  cp /etc/eventplatform/credentials/erlang-cookie /var/lib/rabbitmq/.erlang.cookie
fi
chmod 400 /var/lib/rabbitmq/.erlang.cookie
";

const PROBE: &str =
    "exec rabbitmqctl --quiet authenticate_user \"$RABBITMQ_ADMIN_USERNAME\" \"$RABBITMQ_ADMIN_PASSWORD\"";

pub(super) fn server<'a>(blueprint: &Blueprint<'a>) -> Option<Server<'a>> {
    let managed = blueprint.spec.rabbitmq.managed.as_ref()?;
    let identity = blueprint.identity;
    let secret = identity.resource_name(Credential::Rabbitmq.suffix());
    let image = blueprint.server_image("rabbitmq");
    // The kubelet fills in the pod's name.
    let host = format!("$(POD_NAME).{}.{}.svc", identity.resource_name("rabbitmq-nodes"), identity.namespace);
    // Another variable would restart the single nodes of older releases.
    let advanced = (managed.replicas > 1)
        .then(|| pod::env("RABBITMQ_ADVANCED_CONFIG_FILE", format!("{RABBITMQ_DIR}/{ADVANCED_CONFIG}")));
    let container = Container {
        name: "rabbitmq".to_owned(),
        image: Some(image.to_owned()),
        env: Some(
            [
                pod_name(),
                pod::env("HOME", "/var/lib/rabbitmq"),
                pod::env("RABBITMQ_USE_LONGNAME", "true"),
                pod::env("RABBITMQ_NODENAME", format!("rabbit@{host}")),
                pod::env("RABBITMQ_CONFIG_FILE", format!("{RABBITMQ_DIR}/rabbitmq.conf")),
                pod::env("RABBITMQ_LOGS", "-"),
                pod::env("RABBITMQ_ADMIN_USERNAME", MANAGED_ADMIN),
                pod::env_from_secret("RABBITMQ_ADMIN_PASSWORD", &secret, "admin-password"),
            ]
            .into_iter()
            .chain(advanced)
            .collect(),
        ),
        ports: Some(vec![pod::port("amqp", 5672), pod::port("epmd", 4369), pod::port("cluster", 25672)]),
        // rabbitmqctl starts an Erlang VM each time, so these probes are rare and slow.
        startup_probe: Some(exec_probe(PROBE, 10, 20, 30)),
        readiness_probe: Some(exec_probe(PROBE, 30, 20, 3)),
        liveness_probe: Some(tcp_probe("cluster", 20, 6)),
        ..Default::default()
    };
    let config = Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource { name: identity.resource_name(RABBITMQ_SUFFIX), ..Default::default() }),
        ..Default::default()
    };
    let definitions_volume = pod::secret_volume("definitions", &identity.resource_name(DEFINITIONS_SUFFIX), None);
    Some(Server {
        name: "rabbitmq",
        replicas: managed.replicas,
        storage: &managed.storage,
        resources: managed.resources.as_ref(),
        credential: Credential::Rabbitmq,
        config_hash: Some(config_hash(blueprint, managed.replicas)),
        grace_seconds: 120,
        data_dir: "/var/lib/rabbitmq",
        writable: &["/tmp", "/var/log/rabbitmq"],
        volumes: vec![
            (config, pod::read_only_mount("config", RABBITMQ_DIR)),
            (definitions_volume, pod::read_only_mount("definitions", DEFINITIONS_DIR)),
        ],
        init: Some(init_container("cookie", image, INIT)),
        container,
    })
}

/// Hash of what RabbitMQ reads at startup.
fn config_hash(blueprint: &Blueprint<'_>, replicas: i32) -> String {
    match replicas {
        // As in older releases, so that an upgrade restarts no single node.
        ..=1 => hash(&json!([definitions(blueprint), rabbitmq_conf(blueprint, replicas)])),
        _ => hash(&json!([definitions(blueprint), rabbitmq_files(blueprint, replicas)])),
    }
}
