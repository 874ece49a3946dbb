//! MongoDB: a replica set of one or three members, with a key file and authentication.

use k8s_openapi::api::core::v1::Container;

use super::{Server, bash, exec_probe, init_container, pod_name, tcp_probe};
use crate::{
    blueprint::Blueprint,
    build::{
        connections::{MANAGED_ADMIN, REPLICA_SET},
        pod,
    },
    credentials::Credential,
};

/// Only in the first member does the image create the administrator: a member with data of its own could not join.
const START: &str = "\
if [ \"${POD_NAME##*-}\" = 0 ]; then
  export MONGO_INITDB_ROOT_USERNAME=\"$MONGODB_ADMIN_USERNAME\"
  export MONGO_INITDB_ROOT_PASSWORD=\"$MONGODB_ADMIN_PASSWORD\"
fi
exec docker-entrypoint.sh mongod --bind_ip_all --replSet \"$MONGODB_REPLICA_SET\" --keyFile /run/mongodb/keyfile
";

/// mongod refuses a key file that the group can read, as it can in a mounted Secret.
const INIT: &str =
    "umask 077 && cp /etc/eventplatform/credentials/keyfile /run/mongodb/keyfile && chmod 400 /run/mongodb/keyfile";

const PROBE: &str = "exec mongosh --quiet --norc 'mongodb://127.0.0.1:27017/admin?directConnection=true' --eval \
'db.auth(process.env.MONGODB_ADMIN_USERNAME, process.env.MONGODB_ADMIN_PASSWORD); quit(db.adminCommand({ping: 1}).ok ? 0 : 1)'";

pub(super) fn server<'a>(blueprint: &Blueprint<'a>) -> Option<Server<'a>> {
    let managed = blueprint.spec.mongodb.managed.as_ref()?;
    let secret = blueprint.identity.resource_name(Credential::Mongodb.suffix());
    let image = blueprint.server_image("mongodb");
    let container = Container {
        name: "mongodb".to_owned(),
        image: Some(image.to_owned()),
        command: Some(bash(START)),
        env: Some(vec![
            pod_name(),
            pod::env("HOME", "/tmp"),
            pod::env("MONGODB_REPLICA_SET", REPLICA_SET),
            pod::env("MONGODB_ADMIN_USERNAME", MANAGED_ADMIN),
            pod::env_from_secret("MONGODB_ADMIN_PASSWORD", &secret, "admin-password"),
        ]),
        ports: Some(vec![pod::port("mongodb", 27017)]),
        startup_probe: Some(tcp_probe("mongodb", 2, 150)),
        readiness_probe: Some(exec_probe(PROBE, 15, 10, 3)),
        liveness_probe: Some(tcp_probe("mongodb", 20, 6)),
        ..Default::default()
    };
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
        init: Some(init_container("keyfile", image, INIT)),
        container,
    })
}
