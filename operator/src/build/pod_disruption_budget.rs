//! Autoscalers, and how many pods may be away at once.

use serde_json::json;

use crate::{
    build::{Blueprint, Program, deployment},
    child::{Child, Kind},
};

/// The autoscaler of a program, where it is asked for. A stopped platform has none, for it would start pods again.
pub fn autoscaler(blueprint: &Blueprint<'_>, program: Program) -> Option<Child> {
    let autoscaling = program.service(blueprint).autoscaling.filter(|_| !blueprint.is_stopped())?;
    let name = blueprint.identity.child_name(program.name());
    let target = json!({ "type": "Utilization", "averageUtilization": autoscaling.target_cpu_percent });
    let spec = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
        "minReplicas": autoscaling.min_replicas,
        "maxReplicas": autoscaling.max_replicas,
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": target } }],
    });
    let kind = Kind::HorizontalPodAutoscaler;
    Some(Child::new(blueprint.identity, kind, program.name(), program.name(), json!({ "spec": spec })))
}

/// With two pods or more, one may be away at a time. With one, a budget would only block the draining of nodes.
pub fn disruption_budget(blueprint: &Blueprint<'_>, program: Program) -> Option<Child> {
    let autoscaling = program.service(blueprint).autoscaling;
    let pods = deployment::replicas(blueprint, program).or(autoscaling.map(|autoscaling| autoscaling.min_replicas));
    (pods.unwrap_or(1) >= 2).then(|| budget(blueprint, program.name()))
}

/// The same for the members of the servers.
pub fn server_disruption_budgets(blueprint: &Blueprint<'_>) -> Vec<Child> {
    let spec = blueprint.spec;
    let servers = [
        ("mongodb", spec.mongodb.managed.as_ref().map_or(0, |managed| managed.members)),
        ("rabbitmq", spec.rabbitmq.managed.as_ref().map_or(0, |managed| managed.replicas)),
    ];
    let several = servers.into_iter().filter(|(_, members)| *members >= 2 && !blueprint.is_stopped());
    several.map(|(name, _)| budget(blueprint, name)).collect()
}

fn budget(blueprint: &Blueprint<'_>, component: &str) -> Child {
    let spec = json!({ "maxUnavailable": 1, "selector": { "matchLabels": blueprint.identity.selector(component) } });
    let kind = Kind::PodDisruptionBudget;
    Child::new(blueprint.identity, kind, component, component, json!({ "spec": spec }))
}
