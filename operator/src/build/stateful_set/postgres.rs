//! PostgreSQL: one server.

use k8s_openapi::api::core::v1::Container;

use super::{CREDENTIALS_DIR, Server, exec_probe, tcp_probe};
use crate::{
    blueprint::Blueprint,
    build::{connections::POSTGRES_ADMIN, pod},
    credentials::Credential,
};

/// Failed statements are logged without their values: a violated constraint's detail and a statement's parameters hold
/// names and addresses.
const ARGUMENTS: [&str; 7] = [
    "postgres",
    "-c",
    "max_connections=200",
    "-c",
    "log_error_verbosity=terse",
    "-c",
    "log_parameter_max_length_on_error=0",
];
const PROBE: &str =
    "exec psql --no-psqlrc --quiet --no-align --tuples-only -h 127.0.0.1 -U postgres -d postgres -c 'select 1'";

pub(super) fn server<'a>(blueprint: &Blueprint<'a>) -> Option<Server<'a>> {
    let managed = blueprint.spec.postgres.managed.as_ref()?;
    let secret = blueprint.identity.resource_name(Credential::Postgres.suffix());
    let image = blueprint.server_image("postgres");
    let container = Container {
        name: "postgres".to_owned(),
        image: Some(image.to_owned()),
        args: Some(ARGUMENTS.map(str::to_owned).into()),
        env: Some(vec![
            pod::env("PGDATA", "/var/lib/postgresql/data/pgdata"),
            pod::env("POSTGRES_USER", POSTGRES_ADMIN),
            pod::env("POSTGRES_PASSWORD_FILE", format!("{CREDENTIALS_DIR}/admin-password")),
            // Every login needs a password, from inside the pod too.
            pod::env("POSTGRES_INITDB_ARGS", "--auth-host=scram-sha-256 --auth-local=scram-sha-256"),
            pod::env_from_secret("PGPASSWORD", &secret, "admin-password"),
        ]),
        ports: Some(vec![pod::port("postgres", 5432)]),
        // Recovery after a crash may take long, and begins anew whenever it is killed.
        startup_probe: Some(exec_probe(PROBE, 2, 5, 1800)),
        readiness_probe: Some(exec_probe(PROBE, 10, 5, 3)),
        liveness_probe: Some(tcp_probe("postgres", 20, 6)),
        ..Default::default()
    };
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
