//! What the status says of the servers.

use crate::{blueprint::Blueprint, build::connections, crd::DependencyStatus, credentials::Credential, versions};

/// The servers, and the names on them once the credentials are known.
pub fn dependencies(blueprint: &Blueprint<'_>) -> Vec<DependencyStatus> {
    let spec = blueprint.spec;
    let name = |name: String| (!name.is_empty()).then_some(name);
    let prefix = |prefix: &Option<String>| name(connections::prefix_or_own(blueprint, prefix.as_ref()));
    let postgres = spec.postgres.external.as_ref().and_then(|external| prefix(&external.prefix));
    let mongodb = spec.mongodb.external.as_ref().and_then(|external| prefix(&external.prefix));
    let vhost = spec.rabbitmq.external.as_ref().map(|external| external.vhost.as_ref());
    let vhost = vhost.and_then(|vhost| name(connections::vhost_or_own(blueprint, vhost)));
    let address = |(host, port): (String, u16)| format!("{host}:{port}");
    let servers = [
        ("postgres", address(connections::postgres_endpoint(blueprint)), Credential::Postgres, postgres, None),
        ("mongodb", connections::mongodb_hosts(blueprint).join(","), Credential::Mongodb, mongodb, None),
        ("rabbitmq", address(connections::rabbitmq_endpoint(blueprint)), Credential::Rabbitmq, None, vhost),
    ];
    let status = |(name, endpoint, credential, prefix, vhost): (&str, String, Credential, _, _)| DependencyStatus {
        name: name.to_owned(),
        endpoint,
        image: blueprint.images.get(name).map(|server| server.image.clone()),
        version: blueprint.images.get(name).and_then(|server| versions::version(&server.image)).map(str::to_owned),
        secret_name: connections::secret_name(blueprint, credential),
        storage: None,
        prefix,
        vhost,
    };
    servers.map(status).into()
}
