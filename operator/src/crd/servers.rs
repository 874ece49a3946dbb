//! The part of the spec about PostgreSQL, MongoDB and RabbitMQ: managed or external.

#![allow(unreachable_pub, reason = "KubeSchema derives a hidden copy of each type")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SecretReference, services::Resources};

/// PostgreSQL, managed or external.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("has(self.managed) != has(self.external)")
        .message("postgres needs exactly one of managed and external"),
    validation = Rule::new("has(self.managed) == has(oldSelf.managed)")
        .message("postgres cannot change between managed and external; make a new platform and move the data")
)]
#[serde(rename_all = "camelCase")]
pub struct Postgres {
    /// One server in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedPostgres>,
    /// An external server. The operator creates databases and users on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalPostgres>,
}

impl Default for Postgres {
    fn default() -> Self {
        Self { managed: Some(ManagedPostgres::default()), external: None }
    }
}

/// A PostgreSQL server in the namespace of the platform.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedPostgres {
    /// Image. Default: the operator's setting, postgres:17.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300))]
    pub image: Option<String>,
    /// The volume.
    #[serde(default)]
    pub storage: Storage,
    /// CPU and memory. Default: requests of 100m and 256Mi, a limit of 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// An external PostgreSQL server.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalPostgres {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Port.
    #[serde(default = "postgres_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// A Secret with `username` and `password` of a role that may create roles and databases.
    pub credentials_secret_ref: SecretReference,
    /// Prefix of database and role names, so that platforms can share a server. Default: namespace, name and a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 30), pattern(r"^[a-z_][a-z0-9_]*$"))]
    pub prefix: Option<String>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Tls,
}

fn postgres_port() -> i32 {
    5432
}

/// MongoDB, managed or external.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("has(self.managed) != has(self.external)")
        .message("mongodb needs exactly one of managed and external"),
    validation = Rule::new("has(self.managed) == has(oldSelf.managed)")
        .message("mongodb cannot change between managed and external; make a new platform and move the data")
)]
#[serde(rename_all = "camelCase")]
pub struct Mongodb {
    /// A replica set in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedMongodb>,
    /// An external replica set. The operator creates users on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalMongodb>,
}

impl Default for Mongodb {
    fn default() -> Self {
        Self { managed: Some(ManagedMongodb::default()), external: None }
    }
}

/// A MongoDB replica set in the namespace of the platform.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedMongodb {
    /// Image. Default: the operator's setting, mongo:8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300))]
    pub image: Option<String>,
    /// Members of the replica set: 1, or 3 to survive the loss of one.
    #[serde(default = "one")]
    #[x_kube(
        validation = Rule::new("self == 1 || self == 3").message("mongodb.managed.members must be 1 or 3"),
        validation = Rule::new("self >= oldSelf").message("mongodb.managed.members may grow from 1 to 3 but not shrink: what is left would have no majority; to run one member, dump the databases and load them into a new platform")
    )]
    pub members: i32,
    /// The volume of each member.
    #[serde(default)]
    pub storage: Storage,
    /// CPU and memory of each. Default: requests of 100m and 256Mi, a limit of 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Default for ManagedMongodb {
    fn default() -> Self {
        Self { image: None, members: one(), storage: Storage::default(), resources: None }
    }
}

/// An external MongoDB replica set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalMongodb {
    /// The members as `host:port`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 260)))]
    pub hosts: Vec<String>,
    /// Name of the replica set. Without it, the first host is used alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub replica_set: Option<String>,
    /// A Secret with `username` and `password` of a user that may create users.
    pub credentials_secret_ref: SecretReference,
    /// Prefix of database and user names, so that platforms can share a server. Default: namespace, name and a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 30), pattern(r"^[a-z_][a-z0-9_]*$"))]
    pub prefix: Option<String>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Tls,
}

/// RabbitMQ, managed or external.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("has(self.managed) != has(self.external)")
        .message("rabbitmq needs exactly one of managed and external"),
    validation = Rule::new("has(self.managed) == has(oldSelf.managed)")
        .message("rabbitmq cannot change between managed and external; make a new platform instead")
)]
#[serde(rename_all = "camelCase")]
pub struct Rabbitmq {
    /// A broker in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedRabbitmq>,
    /// An external broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRabbitmq>,
}

impl Default for Rabbitmq {
    fn default() -> Self {
        Self { managed: Some(ManagedRabbitmq::default()), external: None }
    }
}

/// A RabbitMQ broker in the namespace of the platform.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedRabbitmq {
    /// Image. Default: the operator's setting, rabbitmq:4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300))]
    pub image: Option<String>,
    /// Nodes: 1, or 3 to survive the loss of one.
    #[serde(default = "one")]
    #[x_kube(
        validation = Rule::new("self == 1 || self == 3").message("rabbitmq.managed.replicas must be 1 or 3"),
        validation = Rule::new("self >= oldSelf").message("rabbitmq.managed.replicas may grow from 1 to 3 but not shrink: queues would lose their majority; to run one node, make a new platform")
    )]
    pub replicas: i32,
    /// The volume of each node.
    #[serde(default)]
    pub storage: Storage,
    /// CPU and memory of each. Default: requests of 100m and 256Mi, a limit of 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Default for ManagedRabbitmq {
    fn default() -> Self {
        Self { image: None, replicas: one(), storage: Storage::default(), resources: None }
    }
}

/// An external RabbitMQ broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalRabbitmq {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Port.
    #[serde(default = "amqp_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// A virtual host for this platform alone, which has to exist. Default: `namespace.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub vhost: Option<String>,
    /// A Secret with `username` and `password` of a user with all permissions in that virtual host. The services share
    /// it, because AMQP cannot create users.
    pub credentials_secret_ref: SecretReference,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Tls,
}

fn amqp_port() -> i32 {
    5672
}

fn one() -> i32 {
    1
}

/// How the connection to an external server is protected.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.caSecretRef) || self.mode == 'VerifyFull'")
    .message("tls.caSecretRef is for tls.mode VerifyFull"))]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// VerifyFull: encrypted; certificate and host name are verified. Disable: plain text.
    #[serde(default)]
    pub mode: TlsMode,
    /// The CA of the server's certificate. Default: the public authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaReference>,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum TlsMode {
    /// Plain text.
    Disable,
    /// Encrypted; certificate and host name are verified.
    #[default]
    VerifyFull,
}

/// A Secret with a CA certificate under `ca.crt`.
pub type CaReference = SecretReference;

/// A Secret with `username` and `password`.
pub type Credentials = SecretReference;

/// A volume.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)")
        .message("storage.className cannot be changed; a volume stays in its class")
)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size. It can grow if the storage class allows expansion, and cannot shrink below the size of the volumes.
    #[serde(default = "default_size")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
            .message("storage.size must be a quantity above 0, such as 10Gi")
    )]
    pub size: String,
    /// Its storage class. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: default_size(), class_name: None }
    }
}

fn default_size() -> String {
    "10Gi".to_owned()
}
