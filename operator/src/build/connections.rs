//! Addresses, logins and databases on the servers: as URLs for the programs, and as targets for the operator.

use platform::config::Secret;
use url::form_urlencoded::byte_serialize;

use crate::{
    blueprint::Blueprint,
    build::program::AUTHORITIES_DIR,
    crd::{Tls, TlsMode},
    credentials::Credential,
    program::Program,
    servers::{Account, MongodbTarget, PostgresTarget, RabbitmqTarget, TlsTarget},
};

/// Name of the administrator in the servers that the operator runs.
pub const MANAGED_ADMIN: &str = "admin";
/// Name of PostgreSQL's administrator in the server that the operator runs.
pub const POSTGRES_ADMIN: &str = "postgres";
/// Name of the replica set that the operator runs.
pub const REPLICA_SET: &str = "rs0";

/// `host:port` of PostgreSQL.
pub fn postgres_endpoint(blueprint: &Blueprint<'_>) -> (String, u16) {
    match &blueprint.spec.postgres.external {
        Some(external) => (external.host.clone(), u16::try_from(external.port).unwrap_or_default()),
        None => (service_host(blueprint, "postgres"), 5432),
    }
}

/// `host:port` of each member of MongoDB.
pub fn mongodb_hosts(blueprint: &Blueprint<'_>) -> Vec<String> {
    if let Some(external) = &blueprint.spec.mongodb.external {
        return external.hosts.clone();
    }
    let members = blueprint.spec.mongodb.managed.as_ref().map_or(1, |managed| managed.members);
    (0..members).map(|ordinal| format!("{}:27017", pod_host(blueprint, "mongodb", ordinal))).collect()
}

/// `host:port` of RabbitMQ.
pub fn rabbitmq_endpoint(blueprint: &Blueprint<'_>) -> (String, u16) {
    match &blueprint.spec.rabbitmq.external {
        Some(external) => (external.host.clone(), u16::try_from(external.port).unwrap_or_default()),
        None => (service_host(blueprint, "rabbitmq"), 5672),
    }
}

/// DNS name of a Service, valid in every namespace.
fn service_host(blueprint: &Blueprint<'_>, suffix: &str) -> String {
    format!("{}.{}.svc", blueprint.identity.resource_name(suffix), blueprint.identity.namespace)
}

/// DNS name of a pod of a StatefulSet.
pub fn pod_host(blueprint: &Blueprint<'_>, server: &str, ordinal: i32) -> String {
    let name = blueprint.identity.resource_name(server);
    format!("{name}-{ordinal}.{name}-nodes.{}.svc", blueprint.identity.namespace)
}

/// Name of the Secret with the credentials of a server.
pub fn secret_name(blueprint: &Blueprint<'_>, credential: Credential) -> String {
    let spec = blueprint.spec;
    let external = match credential {
        Credential::Postgres => spec.postgres.external.as_ref().map(|e| &e.credentials_secret_ref),
        Credential::Mongodb => spec.mongodb.external.as_ref().map(|e| &e.credentials_secret_ref),
        Credential::Rabbitmq => spec.rabbitmq.external.as_ref().map(|e| &e.credentials_secret_ref),
        _ => None,
    };
    external.map_or_else(|| blueprint.identity.resource_name(credential.suffix()), |reference| reference.name.clone())
}

/// A database or user name. On an external server, which platforms may share, it has a prefix.
fn prefixed(blueprint: &Blueprint<'_>, external: Option<&Option<String>>, name: &str) -> String {
    match external {
        None => name.to_owned(),
        Some(prefix) => format!("{}{name}", prefix_or_own(blueprint, prefix.as_ref())),
    }
}

/// The prefix in the spec, or the platform's own.
pub fn prefix_or_own(blueprint: &Blueprint<'_>, prefix: Option<&String>) -> String {
    prefix.cloned().unwrap_or_else(|| blueprint.credential(Credential::Identity, "prefix"))
}

/// The virtual host in the spec, or the platform's own.
pub fn vhost_or_own(blueprint: &Blueprint<'_>, vhost: Option<&String>) -> String {
    vhost.cloned().unwrap_or_else(|| blueprint.credential(Credential::Identity, "vhost"))
}

/// The mark on what the platform creates on servers that others may use too.
fn owner(blueprint: &Blueprint<'_>) -> String {
    let id = blueprint.credential(Credential::Identity, "id");
    format!("EventPlatform {}/{} {id}", blueprint.identity.namespace, blueprint.identity.name)
}

/// The role and the database of a program on PostgreSQL.
pub fn postgres_names(blueprint: &Blueprint<'_>, program: Program) -> (String, String) {
    let external = blueprint.spec.postgres.external.as_ref().map(|external| &external.prefix);
    let (role, database) = match program {
        Program::User => ("user_service", "users"),
        Program::MockGateway => ("mock_gateway", "gateway"),
        _ => ("booking_service", "bookings"),
    };
    (prefixed(blueprint, external, role), prefixed(blueprint, external, database))
}

/// The database of a program on MongoDB.
pub fn mongodb_database(blueprint: &Blueprint<'_>, program: Program) -> String {
    let external = blueprint.spec.mongodb.external.as_ref().map(|external| &external.prefix);
    prefixed(blueprint, external, if program == Program::Event { "events" } else { "notifications" })
}

fn mongodb_user(blueprint: &Blueprint<'_>, program: Program) -> String {
    let external = blueprint.spec.mongodb.external.as_ref().map(|external| &external.prefix);
    prefixed(blueprint, external, if program == Program::Event { "event_service" } else { "notification_service" })
}

fn password_key(program: Program) -> String {
    format!("{}-password", program.name())
}

/// DATABASE_URL of a program.
pub fn database_url(blueprint: &Blueprint<'_>, program: Program) -> String {
    let (host, port) = postgres_endpoint(blueprint);
    let (role, database) = postgres_names(blueprint, program);
    let password = blueprint.credential(Credential::Postgres, &password_key(program));
    let tls = blueprint.spec.postgres.external.as_ref().map(|external| &external.tls);
    let query = match tls {
        None | Some(Tls { mode: TlsMode::Disable, .. }) => "sslmode=disable".to_owned(),
        Some(Tls { ca_secret_ref: None, .. }) => "sslmode=verify-full".to_owned(),
        Some(_) => format!("sslmode=verify-full&sslrootcert={AUTHORITIES_DIR}/postgres/ca.crt"),
    };
    format!("postgres://{}:{}@{host}:{port}/{database}?{query}", encode(&role), encode(&password))
}

/// MONGODB_URL of a program. A single member is connected to directly, so that it need not know its own name.
pub fn mongodb_url(blueprint: &Blueprint<'_>, program: Program) -> String {
    let user = encode(&mongodb_user(blueprint, program));
    let password = encode(&blueprint.credential(Credential::Mongodb, &password_key(program)));
    let database = mongodb_database(blueprint, program);
    let hosts = mongodb_hosts(blueprint).join(",");
    let mut query = format!("authSource={database}");
    match &blueprint.spec.mongodb.external {
        Some(external) => {
            match &external.replica_set {
                Some(name) => query.push_str(&format!("&replicaSet={}", encode(name))),
                None => query.push_str("&directConnection=true"),
            }
            if external.tls.mode == TlsMode::VerifyFull {
                query.push_str("&tls=true");
                if external.tls.ca_secret_ref.is_some() {
                    query.push_str(&format!("&tlsCAFile={}", encode(&format!("{AUTHORITIES_DIR}/mongodb/ca.crt"))));
                }
            }
        }
        None if hosts.contains(',') => query.push_str(&format!("&replicaSet={REPLICA_SET}")),
        None => query.push_str("&directConnection=true"),
    }
    format!("mongodb://{user}:{password}@{hosts}/{database}?{query}")
}

/// AMQP_URL of a program.
pub fn amqp_url(blueprint: &Blueprint<'_>, program: Program) -> String {
    let password = blueprint.credential(Credential::Rabbitmq, &password_key(program));
    amqp(blueprint, program.image(), &password)
}

fn amqp(blueprint: &Blueprint<'_>, user: &str, password: &str) -> String {
    let (host, port) = rabbitmq_endpoint(blueprint);
    match &blueprint.spec.rabbitmq.external {
        None => format!("amqp://{}:{}@{host}:{port}/%2f", encode(user), encode(password)),
        Some(external) => {
            let name = &external.credentials_secret_ref.name;
            let user = encode(&blueprint.reference(name, "username"));
            let password = encode(&blueprint.reference(name, "password"));
            let scheme = if external.tls.mode == TlsMode::VerifyFull { "amqps" } else { "amqp" };
            format!(
                "{scheme}://{user}:{password}@{host}:{port}/{}",
                encode(&vhost_or_own(blueprint, external.vhost.as_ref()))
            )
        }
    }
}

/// Percent-encodes a part of a URL. Form encoding alone would write a space as `+`.
fn encode(part: &str) -> String {
    byte_serialize(part.as_bytes()).collect::<String>().replace('+', "%20")
}

/// What the operator does on PostgreSQL.
pub fn postgres_target(blueprint: &Blueprint<'_>) -> PostgresTarget {
    let (host, port) = postgres_endpoint(blueprint);
    let accounts = blueprint.programs().into_iter().filter(|program| program.uses_postgres()).map(|program| {
        let (user, database) = postgres_names(blueprint, program);
        let password = Secret::new(blueprint.credential(Credential::Postgres, &password_key(program)));
        Account { program, user, password, database }
    });
    let (admin, password, tls) = match &blueprint.spec.postgres.external {
        None => (POSTGRES_ADMIN.to_owned(), blueprint.credential(Credential::Postgres, "admin-password"), None),
        Some(external) => {
            let name = &external.credentials_secret_ref.name;
            let tls = tls_target(blueprint, &external.tls);
            (blueprint.reference(name, "username"), blueprint.reference(name, "password"), tls)
        }
    };
    PostgresTarget {
        host,
        port,
        admin,
        password: Secret::new(password),
        tls,
        accounts: accounts.collect(),
        owner: blueprint.spec.postgres.external.as_ref().map(|_| owner(blueprint)),
    }
}

/// What the operator does on MongoDB.
pub fn mongodb_target(blueprint: &Blueprint<'_>) -> MongodbTarget {
    let accounts = blueprint.programs().into_iter().filter(|program| program.uses_mongodb()).map(|program| {
        let password = Secret::new(blueprint.credential(Credential::Mongodb, &password_key(program)));
        let database = mongodb_database(blueprint, program);
        Account { program, user: mongodb_user(blueprint, program), password, database }
    });
    let accounts = accounts.collect();
    let hosts = mongodb_hosts(blueprint);
    match &blueprint.spec.mongodb.external {
        None => MongodbTarget {
            hosts,
            initiate: Some(REPLICA_SET.to_owned()),
            replica_set: None,
            admin: MANAGED_ADMIN.to_owned(),
            password: Secret::new(blueprint.credential(Credential::Mongodb, "admin-password")),
            tls: None,
            accounts,
            owner: None,
        },
        Some(external) => {
            let name = &external.credentials_secret_ref.name;
            MongodbTarget {
                hosts,
                initiate: None,
                replica_set: external.replica_set.clone(),
                admin: blueprint.reference(name, "username"),
                password: Secret::new(blueprint.reference(name, "password")),
                tls: tls_target(blueprint, &external.tls),
                accounts,
                owner: Some(owner(blueprint)),
            }
        }
    }
}

/// What the operator does on RabbitMQ.
pub fn rabbitmq_target(blueprint: &Blueprint<'_>) -> RabbitmqTarget {
    let password = blueprint.credential(Credential::Rabbitmq, "admin-password");
    let tls = blueprint.spec.rabbitmq.external.as_ref().and_then(|external| tls_target(blueprint, &external.tls));
    let owner = blueprint.spec.rabbitmq.external.as_ref().map(|_| owner(blueprint));
    RabbitmqTarget { url: Secret::new(amqp(blueprint, MANAGED_ADMIN, &password)), tls, owner }
}

fn tls_target(blueprint: &Blueprint<'_>, tls: &Tls) -> Option<TlsTarget> {
    let authority = tls.ca_secret_ref.as_ref().map(|reference| blueprint.reference(&reference.name, "ca.crt"));
    (tls.mode == TlsMode::VerifyFull).then_some(TlsTarget { authority })
}

/// The Secrets with CA certificates that a program's pods mount, by the name of the server.
pub fn authorities(blueprint: &Blueprint<'_>, program: Program) -> Vec<(&'static str, String)> {
    let spec = blueprint.spec;
    let postgres = spec.postgres.external.as_ref().map(|external| &external.tls);
    let mongodb = spec.mongodb.external.as_ref().map(|external| &external.tls);
    let rabbitmq = spec.rabbitmq.external.as_ref().map(|external| &external.tls);
    let uses = [
        ("postgres", program.uses_postgres(), postgres),
        ("mongodb", program.uses_mongodb(), mongodb),
        ("rabbitmq", program.uses_rabbitmq(), rabbitmq),
    ];
    uses.into_iter()
        .filter(|(_, used, _)| *used)
        .filter_map(|(server, _, tls)| Some((server, tls?.ca_secret_ref.as_ref()?.name.clone())))
        .collect()
}
