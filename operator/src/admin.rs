//! The admin listener: health, and metrics that name every platform.

use std::{
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    routing::get,
};
use kube::{Resource as _, runtime::reflector::Store};
use platform::telemetry;

use crate::{controller::GuardedPlatform, crd::PlatformCondition};

/// One series for each condition of each platform, with its status and reason; its value is always 1.
pub const PLATFORM_CONDITION: &str = "eventplatform_operator_platform_condition";
/// One series for each platform that cannot be decoded; its value is always 1.
pub const UNDECODABLE_PLATFORM: &str = "eventplatform_operator_undecodable_platform";
/// 1 on the replica that holds the lease.
pub const LEADING: &str = "eventplatform_operator_leading";
/// 1 on the leader once it has listed the platforms, and 0 before.
pub const WATCHING: &str = "eventplatform_operator_watching";
/// Lists and watches that failed.
pub const WATCH_FAILURES: &str = "eventplatform_operator_watch_failures_total";

/// What a replica is doing. Clones share it.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Phase>>);

enum Phase {
    /// It cannot look after platforms yet, and why.
    Starting(String),
    /// It can, and waits for the lease.
    Standby,
    /// It has listed the platforms and follows them.
    Watching(Store<GuardedPlatform>),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Starting("the API server has not answered yet".to_owned())
    }
}

impl Health {
    /// It cannot look after platforms yet.
    pub fn starting(&self, why: impl Into<String>) {
        *self.phase() = Phase::Starting(why.into());
    }

    /// It could look after platforms and waits for the lease.
    pub fn standby(&self) {
        *self.phase() = Phase::Standby;
    }

    /// It has listed the platforms.
    pub fn watching(&self, platforms: Store<GuardedPlatform>) {
        metrics::gauge!(WATCHING).set(1.0);
        *self.phase() = Phase::Watching(platforms);
    }

    /// A list or watch failed. It is retried.
    pub fn watch_failed(&self, error: &str) {
        metrics::counter!(WATCH_FAILURES).increment(1);
        tracing::warn!(error, "a watch failed and is tried again; is the definition of EventPlatform installed?");
        let mut phase = self.phase();
        if matches!(*phase, Phase::Starting(_)) {
            *phase = Phase::Starting(error.to_owned());
        }
    }

    /// Why this replica is not ready. `None` if it is.
    pub fn problem(&self) -> Option<String> {
        match &*self.phase() {
            Phase::Starting(why) => Some(why.clone()),
            Phase::Standby | Phase::Watching(_) => None,
        }
    }

    /// The metrics of the process and of the platforms in Prometheus' text format.
    pub fn metrics(&self) -> String {
        let handle = telemetry::metrics_handle();
        handle.run_upkeep();
        let platforms = match &*self.phase() {
            Phase::Watching(platforms) => platforms.state(),
            Phase::Starting(_) | Phase::Standby => Vec::new(),
        };
        // From the store itself: a deleted platform has no series any more.
        handle.render() + &platform_metrics(platforms.iter().map(AsRef::as_ref))
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/livez`, `/readyz` and `/metrics`. A replica that waits for the lease is ready too.
pub fn router(health: Health) -> Router {
    let ready = |State(health): State<Health>| async move {
        match health.problem() {
            None => (StatusCode::OK, "ready".to_owned()),
            Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem),
        }
    };
    let metrics = |State(health): State<Health>| async move {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics())
    };
    Router::new()
        .route("/livez", get(|| async { "alive" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

fn platform_metrics<'a>(platforms: impl Iterator<Item = &'a GuardedPlatform> + Clone) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, series: &mut dyn Iterator<Item = String>| {
        // Writing to a String cannot fail.
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge").ok();
        series.for_each(|labels| {
            writeln!(text, "{name}{{{labels}}} 1").ok();
        });
    };
    let mut conditions = platforms.clone().flat_map(|platform| {
        let status = platform.0.as_ref().ok().and_then(|decoded| decoded.status.as_ref());
        let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
        conditions.iter().map(|condition| labels(platform, Some(condition)))
    });
    gauge(PLATFORM_CONDITION, "The conditions of each platform.", &mut conditions);
    let mut undecodable = platforms.filter(|platform| platform.0.is_err()).map(|platform| labels(platform, None));
    gauge(UNDECODABLE_PLATFORM, "The platforms that cannot be decoded.", &mut undecodable);
    text
}

fn labels(platform: &GuardedPlatform, condition: Option<&PlatformCondition>) -> String {
    let meta = platform.meta();
    // `namespace` would be the operator's: Prometheus sets it for the pod that it asks.
    let mut labels = vec![
        ("platform_namespace", meta.namespace.clone().unwrap_or_default()),
        ("platform", meta.name.clone().unwrap_or_default()),
    ];
    if let Some(condition) = condition {
        labels.push(("condition", condition.type_.clone()));
        labels.push(("status", format!("{:?}", condition.status)));
        labels.push(("reason", condition.reason.clone()));
    }
    // Names and reasons hold neither quotes nor backslashes.
    let labels: Vec<String> = labels.into_iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    labels.join(",")
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_condition_of_a_platform_is_a_series() {
        let platform: DeserializeGuard<_> = serde_json::from_value(json!({
            "apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform",
            "metadata": {"name": "demo", "namespace": "shop"}, "spec": {},
            "status": {"conditions": [{
                "type": "Available", "status": "False", "reason": "NoPods", "message": "m", "lastTransitionTime": "",
            }]},
        }))
        .unwrap();
        let broken: DeserializeGuard<_> = serde_json::from_value(json!({
            "apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform",
            "metadata": {"name": "broken", "namespace": "shop"}, "spec": {"services": 5},
        }))
        .unwrap();

        let text = platform_metrics([&platform, &broken].into_iter());

        let of_demo = "{platform_namespace=\"shop\",platform=\"demo\",condition=\"Available\",status=\"False\",reason=\"NoPods\"} 1";
        assert!(text.contains(&format!("{PLATFORM_CONDITION}{of_demo}\n")), "{text}");
        let of_broken = "{platform_namespace=\"shop\",platform=\"broken\"} 1";
        assert!(text.contains(&format!("{UNDECODABLE_PLATFORM}{of_broken}\n")), "{text}");
        assert_eq!(text.matches("} 1").count(), 2, "{text}");
    }
}
