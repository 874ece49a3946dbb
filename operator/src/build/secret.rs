//! Derived Secrets: what a program or a server reads, made from the credentials. They can be made again at any time.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    build::{Blueprint, Program, connections::MANAGED_ADMIN, program::TRUSTED_KEYS_DIR},
    child::{Child, Kind, hash},
    credentials::{Credential, SecretData, encode_data},
};

/// The Secret with RabbitMQ's users, without the platform's name.
pub const DEFINITIONS_SUFFIX: &str = "rabbitmq-definitions";

/// The derived Secret of each program, and RabbitMQ's definitions.
pub fn derived_secrets(blueprint: &Blueprint<'_>) -> Vec<Child> {
    let mut secrets: Vec<Child> = blueprint
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

fn secret(blueprint: &Blueprint<'_>, suffix: &str, component: &str, data: &SecretData) -> Child {
    let body = json!({ "type": "Opaque", "data": encode_data(data) });
    Child::new(blueprint.identity, Kind::Secret, suffix, component, body)
}

/// The content of a program's derived Secret.
fn program_data(blueprint: &Blueprint<'_>, program: Program) -> SecretData {
    let mut data: SecretData =
        program.secret_files(blueprint).into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    if program == Program::Event {
        let key = blueprint.credential(Credential::BookingServiceKey, "public.pem");
        data.insert("booking-service.pem".to_owned(), key.into_bytes());
    }
    data
}

/// Hash of everything secret that a program reads, so that a change rolls its pods and no others.
pub fn program_hash(blueprint: &Blueprint<'_>, program: Program) -> String {
    let mut data = vec![encode_data(&program_data(blueprint, program))];
    if program == Program::User {
        data.extend(blueprint.credentials.get(&Credential::SigningKeys).map(encode_data));
    }
    for (_, name) in super::connections::authorities(blueprint, program) {
        data.extend(blueprint.references.get(&name).map(encode_data));
    }
    hash(&Value::Array(data))
}

/// RabbitMQ's users and their rights, imported at every boot, so that they do not depend on the first one.
///
/// Every program declares the whole topology, so all have the same rights on it, and none beyond it.
pub fn definitions(blueprint: &Blueprint<'_>) -> Value {
    let topology = r"^(eventbooking|eventbooking\.dead|(booking|notification)(\.user)?(\.dead|\.retry)?)$";
    let programs = blueprint.programs().into_iter().filter(|program| program.uses_rabbitmq());
    let mut users = vec![user(blueprint, MANAGED_ADMIN, "admin-password")];
    let mut permissions = vec![permission(MANAGED_ADMIN, "^$")];
    for program in programs {
        users.push(user(blueprint, program.image(), &format!("{}-password", program.name())));
        permissions.push(permission(program.image(), topology));
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

/// RabbitMQ's salted hash. The salt comes from the password (40 random characters), so that it stays the same.
fn password_hash(password: &str) -> String {
    let salt: [u8; 4] = Sha256::digest(format!("salt of {password}"))[..4].try_into().unwrap_or_default();
    let digest = Sha256::new().chain_update(salt).chain_update(password).finalize();
    STANDARD.encode([&salt[..], &digest[..]].concat())
}

/// The volumes of a program's pods that hold secrets, and where they are mounted.
pub fn mounts(blueprint: &Blueprint<'_>, program: Program) -> Vec<(Value, Value)> {
    let identity = blueprint.identity;
    let mut mounts = Vec::new();
    let mut mount = |name: &str, secret: &str, path: &str, items: Option<&[&str]>| {
        let mut source = json!({ "secretName": secret, "defaultMode": 0o440 });
        if let Some(items) = items {
            source["items"] = items.iter().map(|key| json!({ "key": key, "path": key })).collect();
        }
        let volume = json!({ "name": name, "secret": source });
        mounts.push((volume, json!({ "name": name, "mountPath": path, "readOnly": true })));
    };
    let data = program_data(blueprint, program);
    if !data.is_empty() {
        mount("secrets", &identity.child_name(&program.secret_suffix()), super::program::SECRETS_DIR, None);
    }
    if program == Program::User {
        let name = identity.child_name(Credential::SigningKeys.suffix());
        mount("signing-keys", &name, super::program::SIGNING_KEYS_DIR, None);
    }
    if program == Program::Event {
        let name = identity.child_name(&program.secret_suffix());
        mount("trusted-service-keys", &name, TRUSTED_KEYS_DIR, Some(&["booking-service.pem"]));
    }
    for (server, name) in super::connections::authorities(blueprint, program) {
        let path = format!("{}/{server}", super::program::AUTHORITIES_DIR);
        mount(&format!("authority-{server}"), &name, &path, Some(&["ca.crt"]));
    }
    mounts
}
