//! The EventPlatform resource: `spec`, written by a person, and `status`, written by the operator.
//!
//! `spec: {}` is a complete platform. CEL rules reject mistakes at admission; `validate.rs` checks what CEL cannot. Every
//! list, map and string has a bound, because the API server estimates the cost of the rules from the bounds.

#![allow(unreachable_pub, reason = "KubeSchema derives a hidden copy of each type")]

mod servers;
mod services;
mod status;
#[cfg(test)]
mod tests;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

pub use self::{
    servers::{
        CaReference, Credentials, ExternalMongodb, ExternalPostgres, ExternalRabbitmq, ManagedMongodb, ManagedPostgres,
        ManagedRabbitmq, Mongodb, Postgres, Rabbitmq, Storage, Tls, TlsMode,
    },
    services::{Autoscaling, EnvVar, LogLevel, Resources, Service, Services},
    status::{ConditionStatus, DependencyStatus, EventPlatformStatus, PlatformCondition, ServiceStatus},
};

/// Object names add up to 33 characters, and a label value may have 63.
pub const MAX_NAME_LENGTH: usize = 30;

/// One event booking platform: four services, a frontend, their servers and an ingress.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "platform.eventbooking.dev",
    version = "v1alpha1",
    kind = "EventPlatform",
    plural = "eventplatforms",
    shortname = "evp",
    category = "eventbooking",
    namespaced,
    status = "EventPlatformStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "One event booking platform: four services, a frontend, their servers and an ingress. `spec: {}` is complete.",
    validation = Rule::new("size(self.metadata.name) <= 30")
        .message("metadata.name must have 30 characters or fewer, so that the names of the objects made from it fit"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must start with a letter and hold lower-case letters, digits and dashes only"),
    validation = Rule::new(
        "!has(self.spec.postgres.managed) || !has(oldSelf.spec.postgres.managed) \
         || !isQuantity(self.spec.postgres.managed.storage.size) || !isQuantity(oldSelf.spec.postgres.managed.storage.size) \
         || quantity(self.spec.postgres.managed.storage.size).compareTo(quantity(oldSelf.spec.postgres.managed.storage.size)) >= 0 \
         || (has(self.status) && has(self.status.dependencies) && self.status.dependencies.exists(server, server.name == 'postgres' \
         && has(server.storage) && isQuantity(server.storage) \
         && quantity(self.spec.postgres.managed.storage.size).compareTo(quantity(server.storage)) >= 0))"
    )
    .message("postgres.managed.storage.size may grow but not shrink below the size of its volumes"),
    validation = Rule::new(
        "!has(self.spec.mongodb.managed) || !has(oldSelf.spec.mongodb.managed) \
         || !isQuantity(self.spec.mongodb.managed.storage.size) || !isQuantity(oldSelf.spec.mongodb.managed.storage.size) \
         || quantity(self.spec.mongodb.managed.storage.size).compareTo(quantity(oldSelf.spec.mongodb.managed.storage.size)) >= 0 \
         || (has(self.status) && has(self.status.dependencies) && self.status.dependencies.exists(server, server.name == 'mongodb' \
         && has(server.storage) && isQuantity(server.storage) \
         && quantity(self.spec.mongodb.managed.storage.size).compareTo(quantity(server.storage)) >= 0))"
    )
    .message("mongodb.managed.storage.size may grow but not shrink below the size of its volumes"),
    validation = Rule::new(
        "!has(self.spec.rabbitmq.managed) || !has(oldSelf.spec.rabbitmq.managed) \
         || !isQuantity(self.spec.rabbitmq.managed.storage.size) || !isQuantity(oldSelf.spec.rabbitmq.managed.storage.size) \
         || quantity(self.spec.rabbitmq.managed.storage.size).compareTo(quantity(oldSelf.spec.rabbitmq.managed.storage.size)) >= 0 \
         || (has(self.status) && has(self.status.dependencies) && self.status.dependencies.exists(server, server.name == 'rabbitmq' \
         && has(server.storage) && isQuantity(server.storage) \
         && quantity(self.spec.rabbitmq.managed.storage.size).compareTo(quantity(server.storage)) >= 0))"
    )
    .message("rabbitmq.managed.storage.size may grow but not shrink below the size of its volumes"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct EventPlatformSpec {
    /// Where the images of the platform's own programs come from.
    #[serde(default)]
    pub image: Image,
    /// Managed: reconciled. Paused: only the status is written. Stopped: no pods run, data is kept.
    #[serde(default)]
    pub management: Management,
    /// What happens to volumes and credentials when this resource is deleted.
    #[serde(default)]
    pub deletion: Deletion,
    /// The programs of the platform.
    #[serde(default)]
    pub services: Services,
    /// PostgreSQL, run by the operator (`managed`) or by others (`external`). The choice is immutable.
    #[serde(default)]
    pub postgres: Postgres,
    /// MongoDB, run by the operator (`managed`) or by others (`external`). The choice is immutable.
    #[serde(default)]
    pub mongodb: Mongodb,
    /// RabbitMQ, run by the operator (`managed`) or by others (`external`). The choice is immutable.
    #[serde(default)]
    pub rabbitmq: Rabbitmq,
    /// How browsers reach the platform.
    #[serde(default)]
    pub exposure: Exposure,
    /// How payments are taken.
    #[serde(default)]
    pub payments: Payments,
    /// The first administrator. Without it, promote a user in the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// Which network traffic is allowed.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
    /// How metrics are collected.
    #[serde(default)]
    pub monitoring: Monitoring,
}

/// Where the images of the platform's own programs come from.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Registry and path prefix of the images, such as `registry.example.org/eventplatform`. Default: the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), pattern(r"^[a-z0-9][a-z0-9._:/-]*[a-z0-9]$"))]
    pub registry: Option<String>,
    /// Tag of the images, and the version in the status. Default: the operator's own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), pattern(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub tag: Option<String>,
    /// When the kubelet pulls an image.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// Secrets of type kubernetes.io/dockerconfigjson, in this namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub pull_secrets: Vec<SecretReference>,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[strum(const_into_str)]
pub enum PullPolicy {
    /// Whenever a container starts.
    Always,
    /// When the node does not have the image.
    #[default]
    IfNotPresent,
    /// Never. The image must be on the node.
    Never,
}

/// A Secret in the namespace of the platform.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Whether the operator reconciles the platform.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Management {
    /// The operator reconciles it.
    #[default]
    Managed,
    /// The operator writes only the status.
    Paused,
    /// No pods run. Volumes and credentials are kept.
    Stopped,
}

/// What happens when the resource is deleted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// Retain: volumes and credentials are kept for a new platform of the same name. Delete: everything is deleted.
    #[serde(default)]
    pub policy: DeletionPolicy,
}

/// What happens to volumes and credentials when the resource is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum DeletionPolicy {
    /// They are kept.
    #[default]
    Retain,
    /// They are deleted.
    Delete,
}

/// How browsers reach the platform.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("self.type != 'Gateway' || has(self.gatewayRef)")
        .message("exposure.type Gateway needs exposure.gatewayRef: the Gateway that the route attaches to"),
    validation = Rule::new("!has(self.tls) || has(self.host)")
        .message("exposure.tls needs exposure.host: a certificate is for a host name"),
    validation = Rule::new("!has(self.tls) || self.type == 'Ingress'")
        .message("exposure.tls is for exposure.type Ingress; a Gateway brings its own certificates, set exposure.url instead")
)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// None: Services only. Ingress: an Ingress of any class. Gateway: an HTTPRoute of the Gateway API.
    #[serde(default, rename = "type")]
    pub type_: ExposureType,
    /// Host name of the route. Default: every host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub host: Option<String>,
    /// Origin that browsers see, without a path. Default: the host with https or http, or http://localhost:8080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300), pattern(r"^https?://[^/?#@ ]+$"))]
    pub url: Option<String>,
    /// Class of the Ingress. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Annotations of the Ingress or HTTPRoute, such as `cert-manager.io/cluster-issuer`.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: std::collections::BTreeMap<String, String>,
    /// Certificate of the Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ExposureTls>,
    /// The Gateway that the HTTPRoute attaches to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_ref: Option<GatewayReference>,
}

/// How browsers reach the platform.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ExposureType {
    /// Services only.
    None,
    /// An Ingress.
    #[default]
    Ingress,
    /// An HTTPRoute of the Gateway API.
    Gateway,
}

/// Certificate of the Ingress.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExposureTls {
    /// Secret of type kubernetes.io/tls. cert-manager creates it if the annotations request it.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

/// A Gateway of the Gateway API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayReference {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Gateway. Default: the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Listener of the Gateway. Default: every matching one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// How payments are taken.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("self.provider != 'Stripe' || has(self.credentialsSecretRef)")
        .message("payments.provider Stripe needs payments.credentialsSecretRef: a Secret with the keys api-key and webhook-secret"),
    validation = Rule::new("self.provider != 'Mock' || !has(self.credentialsSecretRef)")
        .message("payments.credentialsSecretRef is for payments.provider Stripe; the mock has credentials of its own")
)]
#[serde(rename_all = "camelCase")]
pub struct Payments {
    /// Mock: a payment gateway for tests runs beside the services. Stripe: Stripe's API, live or test by the key.
    #[serde(default)]
    pub provider: PaymentProvider,
    /// For Stripe: a Secret with the keys `api-key` and `webhook-secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
}

/// How payments are taken.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum PaymentProvider {
    /// The platform's own payment gateway for tests.
    #[default]
    Mock,
    /// Stripe.
    Stripe,
}

/// The first administrator.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// A Secret with the keys `email` and `password`.
    pub credentials_secret_ref: SecretReference,
}

/// Which network traffic is allowed.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Enabled: only the traffic that the platform needs is allowed, in both directions.
    #[serde(default)]
    pub mode: Toggle,
    /// Who may reach the frontend and the services: the ingress controller. Empty: every other namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ingress_from: Vec<Peer>,
    /// Who may reach the admin ports for metrics. Default: the namespace `monitoring`.
    #[serde(default = "NetworkPolicy::monitoring_namespace")]
    #[schemars(length(max = 16))]
    pub metrics_from: Vec<Peer>,
}

impl NetworkPolicy {
    fn monitoring_namespace() -> Vec<Peer> {
        let labels = [("kubernetes.io/metadata.name".to_owned(), "monitoring".to_owned())].into();
        vec![Peer { namespace_labels: Some(labels), pod_labels: None, cidr: None }]
    }
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self { mode: Toggle::Enabled, ingress_from: Vec::new(), metrics_from: Self::monitoring_namespace() }
    }
}

/// A switch.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum Toggle {
    /// On.
    #[default]
    Enabled,
    /// Off.
    Disabled,
}

/// A network peer: pods by the labels of their namespace and their own, or addresses.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.cidr) != (has(self.namespaceLabels) || has(self.podLabels))")
    .message("a network peer is either a cidr or labels (namespaceLabels, podLabels), not both and not neither"))]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Labels of the namespace. Default with `podLabels`: the platform's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub namespace_labels: Option<std::collections::BTreeMap<String, String>>,
    /// Labels of the pods. Default: all of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub pod_labels: Option<std::collections::BTreeMap<String, String>>,
    /// Addresses, such as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub cidr: Option<String>,
}

/// How metrics are collected.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether a ServiceMonitor of the Prometheus operator is created. Auto: if its definition is installed.
    #[serde(default)]
    pub service_monitor: ServiceMonitorMode,
    /// Additional labels of the ServiceMonitor, for a Prometheus that selects by them.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Whether a ServiceMonitor is created.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ServiceMonitorMode {
    /// If the definition is installed.
    #[default]
    Auto,
    /// Always. A missing definition is reported.
    Enabled,
    /// Never.
    Disabled,
}
