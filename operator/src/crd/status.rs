//! The status: conditions, never a phase.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator has observed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventPlatformStatus {
    /// The generation of the spec that was reconciled.
    #[serde(default)]
    pub observed_generation: Option<i64>,
    /// The version that all programs run. While they are being updated, the one before.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// The origin that browsers see.
    #[serde(default)]
    #[schemars(length(max = 300))]
    pub url: Option<String>,
    /// Ready, Available, DependenciesReady, SchemaCurrent, Degraded and Paused.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<PlatformCondition>,
    /// The programs.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub services: Vec<ServiceStatus>,
    /// The servers.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub dependencies: Vec<DependencyStatus>,
}

/// Whether something holds, and why.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformCondition {
    /// The type of the condition.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word in camel case.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, and what to do about it.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// When `status` last changed, in RFC 3339.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// The generation of the spec that it applies to.
    #[serde(default)]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It is not known.
    #[default]
    Unknown,
}

/// A program and its pods.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Name in the spec, such as `booking`.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Available pods of the desired version.
    pub ready: i32,
    /// Desired pods.
    pub desired: i32,
    /// The desired image.
    #[schemars(length(max = 400))]
    pub image: String,
}

/// A server that the programs depend on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DependencyStatus {
    /// postgres, mongodb or rabbitmq.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Host and port.
    #[schemars(length(max = 5000))]
    pub endpoint: String,
    /// The Secret with its credentials.
    #[schemars(length(max = 253))]
    pub secret_name: String,
    /// On a managed server: its image, from which no major step is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub image: Option<String>,
    /// On a managed server: the version in the tag of its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// On a managed server: the size of its smallest volume. The spec's size may go back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub storage: Option<String>,
    /// On an external server: the prefix of the platform's databases and users. It is kept as long as the Secrets are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub prefix: Option<String>,
    /// On an external RabbitMQ: the platform's virtual host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub vhost: Option<String>,
}
