//! The servers: PostgreSQL, MongoDB and RabbitMQ from the official images, with volumes and probes that log in.

use serde_json::{Value, json};

use crate::{
    build::{
        Blueprint,
        config_map::{DEFINITIONS_DIR, RABBITMQ_DIR, RABBITMQ_SUFFIX, rabbitmq_conf},
        connections::{MANAGED_ADMIN, POSTGRES_ADMIN, REPLICA_SET, pod_host},
        pod::{self, SERVER_UID},
        secret::{DEFINITIONS_SUFFIX, definitions},
    },
    child::{CONFIG_HASH_ANNOTATION, Child, Kind, hash},
    crd::{DeletionPolicy, Resources, Storage},
    credentials::Credential,
};

/// Where the credentials of a server are mounted.
const CREDENTIALS_DIR: &str = "/etc/eventplatform/credentials";

/// What differs between the servers.
struct Server<'a> {
    name: &'static str,
    replicas: i32,
    storage: &'a Storage,
    resources: Option<&'a Resources>,
    credential: Credential,
    /// Hash of the configuration that is read at the start.
    config_hash: Option<String>,
    grace_seconds: i32,
    data_dir: &'static str,
    /// Folders that must be writable besides the volume.
    writable: &'static [&'static str],
    volumes: Vec<(Value, Value)>,
    init: Option<Value>,
    container: Value,
}

/// The StatefulSets of the servers that run here.
pub fn stateful_sets(blueprint: &Blueprint<'_>) -> Vec<Child> {
    let servers = [postgres(blueprint), mongodb(blueprint), rabbitmq(blueprint)];
    servers.into_iter().flatten().map(|server| stateful_set(blueprint, server)).collect()
}

fn postgres<'a>(blueprint: &Blueprint<'a>) -> Option<Server<'a>> {
    let managed = blueprint.spec.postgres.managed.as_ref()?;
    let secret = blueprint.identity.child_name(Credential::Postgres.suffix());
    let image = managed.image.as_ref().unwrap_or(&blueprint.settings.postgres_image);
    let container = json!({
        "image": image,
        "args": ["postgres", "-c", "max_connections=200"],
        "env": [
            { "name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata" },
            { "name": "POSTGRES_USER", "value": POSTGRES_ADMIN },
            { "name": "POSTGRES_PASSWORD_FILE", "value": format!("{CREDENTIALS_DIR}/admin-password") },
            // Nobody comes in without a password, from inside the pod neither.
            { "name": "POSTGRES_INITDB_ARGS", "value": "--auth-host=scram-sha-256 --auth-local=scram-sha-256" },
            pod::env_from_secret("PGPASSWORD", &secret, "admin-password"),
        ],
        "ports": [{ "name": "postgres", "containerPort": 5432, "protocol": "TCP" }],
        "startupProbe": exec(POSTGRES_PROBE, 2, 5, 90),
        "readinessProbe": exec(POSTGRES_PROBE, 10, 5, 3),
        "livenessProbe": tcp("postgres"),
    });
    Some(Server {
        name: "postgres",
        replicas: 1,
        storage: &managed.storage,
        resources: managed.resources.as_ref(),
        credential: Credential::Postgres,
        config_hash: None,
        grace_seconds: 60,
        data_dir: "/var/lib/postgresql/data",
        writable: &["/tmp", "/var/run/postgresql"],
        volumes: Vec::new(),
        init: None,
        container,
    })
}

const POSTGRES_PROBE: &str =
    "exec psql --no-psqlrc --quiet --no-align --tuples-only -h 127.0.0.1 -U postgres -d postgres -c 'select 1'";

/// Only the first member lets the image make the administrator: a member with data of its own could not join.
const MONGODB_START: &str = "\
if [ \"${POD_NAME##*-}\" = 0 ]; then
  export MONGO_INITDB_ROOT_USERNAME=\"$MONGODB_ADMIN_USERNAME\"
  export MONGO_INITDB_ROOT_PASSWORD=\"$MONGODB_ADMIN_PASSWORD\"
fi
exec docker-entrypoint.sh mongod --bind_ip_all --replSet \"$MONGODB_REPLICA_SET\" --keyFile /run/mongodb/keyfile
";

/// mongod refuses a key file that others can read, as the group can in a mounted Secret.
const MONGODB_INIT: &str =
    "umask 077 && cp /etc/eventplatform/credentials/keyfile /run/mongodb/keyfile && chmod 400 /run/mongodb/keyfile";

const MONGODB_PROBE: &str = "exec mongosh --quiet --norc 'mongodb://127.0.0.1:27017/admin?directConnection=true' --eval \
'db.auth(process.env.MONGODB_ADMIN_USERNAME, process.env.MONGODB_ADMIN_PASSWORD); quit(db.adminCommand({ping: 1}).ok ? 0 : 1)'";

fn mongodb<'a>(blueprint: &Blueprint<'a>) -> Option<Server<'a>> {
    let managed = blueprint.spec.mongodb.managed.as_ref()?;
    let secret = blueprint.identity.child_name(Credential::Mongodb.suffix());
    let image = managed.image.as_ref().unwrap_or(&blueprint.settings.mongodb_image);
    let container = json!({
        "image": image,
        "command": ["bash", "-euc", MONGODB_START],
        "env": [
            pod_name(),
            { "name": "HOME", "value": "/tmp" },
            { "name": "MONGODB_REPLICA_SET", "value": REPLICA_SET },
            { "name": "MONGODB_ADMIN_USERNAME", "value": MANAGED_ADMIN },
            pod::env_from_secret("MONGODB_ADMIN_PASSWORD", &secret, "admin-password"),
        ],
        "ports": [{ "name": "mongodb", "containerPort": 27017, "protocol": "TCP" }],
        "startupProbe": tcp_startup("mongodb"),
        "readinessProbe": exec(MONGODB_PROBE, 15, 10, 3),
        "livenessProbe": tcp("mongodb"),
    });
    let init = json!({
        "name": "keyfile", "image": image, "command": ["bash", "-euc", MONGODB_INIT],
    });
    Some(Server {
        name: "mongodb",
        replicas: managed.members,
        storage: &managed.storage,
        resources: managed.resources.as_ref(),
        credential: Credential::Mongodb,
        config_hash: None,
        grace_seconds: 60,
        data_dir: "/data/db",
        writable: &["/tmp", "/run/mongodb", "/data/configdb"],
        volumes: Vec::new(),
        init: Some(init),
        container,
    })
}

/// The cookie must be private to its owner. A cookie that is there already outlives a Secret that was emptied.
const RABBITMQ_INIT: &str = "\
umask 077
if [ -s /etc/eventplatform/credentials/erlang-cookie ]; then
  rm -f /var/lib/rabbitmq/.erlang.cookie
  cp /etc/eventplatform/credentials/erlang-cookie /var/lib/rabbitmq/.erlang.cookie
fi
chmod 400 /var/lib/rabbitmq/.erlang.cookie
";

const RABBITMQ_PROBE: &str =
    "exec rabbitmqctl --quiet authenticate_user \"$RABBITMQ_ADMIN_USERNAME\" \"$RABBITMQ_ADMIN_PASSWORD\"";

fn rabbitmq<'a>(blueprint: &Blueprint<'a>) -> Option<Server<'a>> {
    let managed = blueprint.spec.rabbitmq.managed.as_ref()?;
    let identity = blueprint.identity;
    let secret = identity.child_name(Credential::Rabbitmq.suffix());
    let image = managed.image.as_ref().unwrap_or(&blueprint.settings.rabbitmq_image);
    // The pod's own name in its headless Service, with the ordinal that only the pod knows.
    let host = pod_host(blueprint, "rabbitmq", 0).replacen(
        &format!("{}-0", identity.child_name("rabbitmq")),
        "$(POD_NAME)",
        1,
    );
    let container = json!({
        "image": image,
        "env": [
            pod_name(),
            { "name": "HOME", "value": "/var/lib/rabbitmq" },
            { "name": "RABBITMQ_USE_LONGNAME", "value": "true" },
            { "name": "RABBITMQ_NODENAME", "value": format!("rabbit@{host}") },
            { "name": "RABBITMQ_CONFIG_FILE", "value": format!("{RABBITMQ_DIR}/rabbitmq.conf") },
            { "name": "RABBITMQ_LOGS", "value": "-" },
            { "name": "RABBITMQ_ADMIN_USERNAME", "value": MANAGED_ADMIN },
            pod::env_from_secret("RABBITMQ_ADMIN_PASSWORD", &secret, "admin-password"),
        ],
        "ports": [
            { "name": "amqp", "containerPort": 5672, "protocol": "TCP" },
            { "name": "epmd", "containerPort": 4369, "protocol": "TCP" },
            { "name": "cluster", "containerPort": 25672, "protocol": "TCP" },
        ],
        // The command line tool starts a virtual machine of its own each time: seldom, and with patience.
        "startupProbe": exec(RABBITMQ_PROBE, 10, 20, 30),
        "readinessProbe": exec(RABBITMQ_PROBE, 30, 20, 3),
        "livenessProbe": tcp("cluster"),
    });
    let init = json!({ "name": "cookie", "image": image, "command": ["bash", "-euc", RABBITMQ_INIT] });
    let config = json!({ "name": "config", "configMap": { "name": identity.child_name(RABBITMQ_SUFFIX) } });
    let users = json!({
        "name": "definitions",
        "secret": { "secretName": identity.child_name(DEFINITIONS_SUFFIX), "defaultMode": 0o440 },
    });
    let mounted = |name: &str, path: &str| json!({ "name": name, "mountPath": path, "readOnly": true });
    Some(Server {
        name: "rabbitmq",
        replicas: managed.replicas,
        storage: &managed.storage,
        resources: managed.resources.as_ref(),
        credential: Credential::Rabbitmq,
        config_hash: Some(hash(&json!([definitions(blueprint), rabbitmq_conf(blueprint, managed.replicas)]))),
        grace_seconds: 120,
        data_dir: "/var/lib/rabbitmq",
        writable: &["/tmp", "/var/log/rabbitmq"],
        volumes: vec![(config, mounted("config", RABBITMQ_DIR)), (users, mounted("definitions", DEFINITIONS_DIR))],
        init: Some(init),
        container,
    })
}

fn stateful_set(blueprint: &Blueprint<'_>, server: Server<'_>) -> Child {
    let identity = blueprint.identity;
    // While stopping, programs go first, so that their last writes still find the servers.
    let replicas = if blueprint.is_stopped() && !blueprint.programs_running { 0 } else { server.replicas };
    let retention = if blueprint.spec.deletion.policy == DeletionPolicy::Delete { "Delete" } else { "Retain" };
    let mut metadata = json!({ "labels": identity.labels(server.name) });
    if let Some(hash) = &server.config_hash {
        metadata["annotations"] = json!({ CONFIG_HASH_ANNOTATION: hash });
    }
    let name = server.name;
    let claim = claim(blueprint, name, server.storage);
    let spec = json!({
        "replicas": replicas,
        "serviceName": identity.child_name(&format!("{name}-nodes")),
        "podManagementPolicy": "Parallel",
        "revisionHistoryLimit": 3,
        "updateStrategy": { "type": "RollingUpdate" },
        "persistentVolumeClaimRetentionPolicy": { "whenDeleted": retention, "whenScaled": "Retain" },
        "selector": { "matchLabels": identity.selector(name) },
        "template": { "metadata": metadata, "spec": pod_spec(blueprint, server) },
        "volumeClaimTemplates": [claim],
    });
    Child::new(identity, Kind::StatefulSet, name, name, json!({ "spec": spec }))
}

fn claim(blueprint: &Blueprint<'_>, component: &str, storage: &Storage) -> Value {
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": "data", "labels": blueprint.identity.labels(component) },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
            "resources": { "requests": { "storage": storage.size } },
        },
    });
    if let Some(class) = &storage.class_name {
        claim["spec"]["storageClassName"] = json!(class);
    }
    claim
}

fn pod_spec(blueprint: &Blueprint<'_>, server: Server<'_>) -> Value {
    let secret = blueprint.identity.child_name(server.credential.suffix());
    let mut volumes = vec![json!({ "name": "credentials", "secret": { "secretName": secret, "defaultMode": 0o440 } })];
    let mut mounts = vec![
        json!({ "name": "data", "mountPath": server.data_dir }),
        json!({ "name": "credentials", "mountPath": CREDENTIALS_DIR, "readOnly": true }),
    ];
    for (index, path) in server.writable.iter().enumerate() {
        let name = format!("writable-{index}");
        mounts.push(json!({ "name": name, "mountPath": path }));
        volumes.push(json!({ "name": name, "emptyDir": {} }));
    }
    for (volume, mount) in server.volumes {
        volumes.push(volume);
        mounts.push(mount);
    }
    let resources = pod::resources(server.resources, &pod::default_resources("100m", "256Mi", "1Gi"));
    let finish = |mut container: Value| {
        container["imagePullPolicy"] = pod::pull_policy(blueprint);
        container["resources"] = resources.clone();
        container["securityContext"] = pod::container_security();
        container["volumeMounts"] = json!(mounts);
        container
    };
    let mut container = finish(server.container);
    container["name"] = json!(server.name);
    let mut spec = json!({
        "terminationGracePeriodSeconds": server.grace_seconds,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "imagePullSecrets": pod::pull_secrets(blueprint),
        "securityContext": pod::pod_security(SERVER_UID),
        "topologySpreadConstraints": pod::spread(blueprint, server.name),
        "containers": [container],
        "volumes": volumes,
    });
    if let Some(init) = server.init {
        spec["initContainers"] = json!([finish(init)]);
    }
    spec
}

fn pod_name() -> Value {
    json!({ "name": "POD_NAME", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } })
}

fn exec(script: &str, period: i32, timeout: i32, failures: i32) -> Value {
    json!({
        "exec": { "command": ["bash", "-euc", script] },
        "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures,
    })
}

fn tcp(port: &str) -> Value {
    json!({ "tcpSocket": { "port": port }, "periodSeconds": 20, "timeoutSeconds": 5, "failureThreshold": 6 })
}

fn tcp_startup(port: &str) -> Value {
    json!({ "tcpSocket": { "port": port }, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 150 })
}
