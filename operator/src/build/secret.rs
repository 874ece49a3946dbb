//! Derived Secrets: what a program or a server reads, made from the credentials. They can be rebuilt at any time.

use base64::{Engine, engine::general_purpose::STANDARD};
use contracts::message::{DEAD_LETTER_EXCHANGE, EXCHANGE, QUEUES};
use k8s_openapi::api::core::v1::{Secret, Volume, VolumeMount};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    blueprint::Blueprint,
    build::{
        connections::{MANAGED_ADMIN, authorities},
        pod,
        program::{AUTHORITIES_DIR, SECRETS_DIR, SIGNING_KEYS_DIR, TICKET_KEYS_DIR, TRUSTED_KEYS_DIR},
    },
    credentials::{Credential, SecretData, byte_strings, encode_data},
    program::Program,
    resource::hash,
};

/// Suffix of the Secret with RabbitMQ's users.
pub const DEFINITIONS_SUFFIX: &str = "rabbitmq-definitions";

/// The derived Secret of each program, and RabbitMQ's definitions.
pub fn derived_secrets(blueprint: &Blueprint<'_>) -> Vec<Secret> {
    let mut secrets: Vec<Secret> = blueprint
        .programs()
        .into_iter()
        .map(|program| (program, program_data(blueprint, program)))
        .filter(|(_, data)| !data.is_empty())
        .map(|(program, data)| secret(blueprint, &program.secret_suffix(), program.name(), &data))
        .collect();
    if blueprint.spec.rabbitmq.managed.is_some() {
        let data = [("definitions.json".to_owned(), definitions(blueprint).to_string().into_bytes())].into();
        secrets.push(secret(blueprint, DEFINITIONS_SUFFIX, "rabbitmq", &data));
    }
    secrets
}

fn secret(blueprint: &Blueprint<'_>, suffix: &str, component: &str, data: &SecretData) -> Secret {
    Secret {
        metadata: blueprint.identity.metadata(suffix, component),
        type_: Some("Opaque".to_owned()),
        data: Some(byte_strings(data)),
        ..Default::default()
    }
}

fn program_data(blueprint: &Blueprint<'_>, program: Program) -> SecretData {
    let mut data: SecretData =
        program.secret_files(blueprint).into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    if program == Program::Event {
        let key = blueprint.credential(Credential::BookingServiceKey, "public.pem");
        data.insert("booking-service.pem".to_owned(), key.into_bytes());
    }
    data
}

/// The keys that a program reads from a folder of their own, and the folder: keys can be added there to rotate them.
fn keys_mounted_by(program: Program) -> Option<(Credential, &'static str)> {
    match program {
        Program::User => Some((Credential::SigningKeys, SIGNING_KEYS_DIR)),
        Program::Booking => Some((Credential::TicketKeys, TICKET_KEYS_DIR)),
        Program::Event | Program::MockGateway | Program::Notification | Program::Frontend => None,
    }
}

/// Hash of every secret that a program reads. A changed secret rolls its readers and no other pods.
pub fn program_hash(blueprint: &Blueprint<'_>, program: Program) -> String {
    let mut data = vec![encode_data(&program_data(blueprint, program))];
    if let Some((credential, _)) = keys_mounted_by(program) {
        data.extend(blueprint.credentials.get(&credential).map(encode_data));
    }
    for (_, name) in authorities(blueprint, program) {
        data.extend(blueprint.references.get(&name).map(encode_data));
    }
    hash(&Value::Array(data))
}

/// RabbitMQ's users and permissions in its own format, imported at every boot.
///
/// Every program declares the whole topology, so all have the same permissions: on the topology, and nothing else.
pub fn definitions(blueprint: &Blueprint<'_>) -> Value {
    let queues = QUEUES.map(|queue| queue.name).join("|");
    let topology = format!("^({EXCHANGE}|{DEAD_LETTER_EXCHANGE}|({queues})(.dead|.retry)?)$").replace('.', r"\.");
    let programs = blueprint.programs().into_iter().filter(|program| program.uses_rabbitmq());
    let mut users = vec![user(blueprint, MANAGED_ADMIN, "admin-password")];
    let mut permissions = vec![permission(MANAGED_ADMIN, "^$")];
    for program in programs {
        users.push(user(blueprint, program.image(), &format!("{}-password", program.name())));
        permissions.push(permission(program.image(), &topology));
    }
    json!({ "users": users, "vhosts": [{ "name": "/" }], "permissions": permissions })
}

fn user(blueprint: &Blueprint<'_>, name: &str, key: &str) -> Value {
    let password = blueprint.credential(Credential::Rabbitmq, key);
    json!({
        "name": name, "password_hash": password_hash(&password),
        "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "",
    })
}

fn permission(user: &str, pattern: &str) -> Value {
    json!({ "user": user, "vhost": "/", "configure": pattern, "write": pattern, "read": pattern })
}

/// RabbitMQ's salted hash. The salt is derived from the password (40 random characters), so that the hash is stable.
fn password_hash(password: &str) -> String {
    let salt: [u8; 4] = Sha256::digest(format!("salt of {password}"))[..4].try_into().unwrap_or_default();
    let digest = Sha256::new().chain_update(salt).chain_update(password).finalize();
    STANDARD.encode([&salt[..], &digest[..]].concat())
}

/// The volumes of a program's pods that hold secrets, and their mounts.
pub fn mounts(blueprint: &Blueprint<'_>, program: Program) -> (Vec<Volume>, Vec<VolumeMount>) {
    let identity = blueprint.identity;
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    let mut mount = |name: &str, secret: &str, path: &str, keys: Option<&[&str]>| {
        volumes.push(pod::secret_volume(name, secret, keys));
        mounts.push(pod::read_only_mount(name, path));
    };
    let derived = identity.resource_name(&program.secret_suffix());
    if !program_data(blueprint, program).is_empty() {
        mount("secrets", &derived, SECRETS_DIR, None);
    }
    if let Some((credential, path)) = keys_mounted_by(program) {
        mount(credential.suffix(), &identity.resource_name(credential.suffix()), path, None);
    }
    if program == Program::Event {
        mount("trusted-service-keys", &derived, TRUSTED_KEYS_DIR, Some(&["booking-service.pem"]));
    }
    for (server, name) in authorities(blueprint, program) {
        let path = format!("{AUTHORITIES_DIR}/{server}");
        mount(&format!("authority-{server}"), &name, &path, Some(&["ca.crt"]));
    }
    (volumes, mounts)
}
