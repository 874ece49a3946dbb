//! The part of the spec about the platform's own programs.

#![allow(unreachable_pub, reason = "KubeSchema derives a hidden copy of each type")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// The programs of the platform.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    /// Accounts, logins and their tokens.
    #[serde(default)]
    pub user: Service,
    /// Events and their seats.
    #[serde(default)]
    pub event: Service,
    /// Bookings and payments.
    #[serde(default)]
    pub booking: Service,
    /// Notifications.
    #[serde(default)]
    pub notification: Service,
    /// The static site.
    #[serde(default)]
    pub frontend: Service,
    /// The payment gateway for tests. It runs only with `payments.provider: Mock`.
    #[serde(default)]
    pub mock_gateway: Service,
}

/// One program of the platform.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))")
    .message("set replicas or autoscaling, not both"))]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Number of pods. Default: 1. To run none of the platform, set `management: Stopped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 50")
        .message("replicas must be between 1 and 50; set management: Stopped to run no pods"))]
    pub replicas: Option<i32>,
    /// Lets a HorizontalPodAutoscaler set the number of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// CPU and memory. Default: requests of 50m and 64Mi, a limit of 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Additional environment variables. Those that the operator sets are rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub env: Vec<EnvVar>,
    /// The log level.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// Lets a HorizontalPodAutoscaler set the number of pods.
#[derive(KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas")
    .message("autoscaling.minReplicas must not be above autoscaling.maxReplicas"))]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// Minimum number of pods.
    #[serde(default = "default_min_replicas")]
    #[schemars(range(min = 1, max = 50))]
    pub min_replicas: i32,
    /// Maximum number of pods.
    #[schemars(range(min = 1, max = 50))]
    pub max_replicas: i32,
    /// Target CPU utilization, in percent of the request.
    #[serde(default = "default_cpu_percent")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_percent: i32,
}

fn default_min_replicas() -> i32 {
    2
}

fn default_cpu_percent() -> i32 {
    70
}

/// CPU and memory of a container, as quantities such as `250m` and `128Mi`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is reserved for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub requests: BTreeMap<String, String>,
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub limits: BTreeMap<String, String>,
}

/// An environment variable. Secrets do not belong here.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 63), pattern(r"^[A-Z][A-Z0-9_]*$"))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// The log level.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For debugging.
    Debug,
    /// The usual.
    #[default]
    Info,
    /// What may need attention.
    Warn,
    /// What failed.
    Error,
}
