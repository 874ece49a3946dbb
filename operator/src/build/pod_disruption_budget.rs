//! PodDisruptionBudgets. With two or more pods, one may be evicted at a time; with one, a budget would block draining.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{blueprint::Blueprint, build::deployment, program::Program};

pub fn of_program(blueprint: &Blueprint<'_>, program: Program) -> Option<PodDisruptionBudget> {
    let autoscaling = program.service(blueprint).autoscaling;
    let pods = deployment::replicas(blueprint, program).or(autoscaling.map(|autoscaling| autoscaling.min_replicas));
    (pods.unwrap_or(1) >= 2).then(|| budget(blueprint, program.name()))
}

pub fn of_servers(blueprint: &Blueprint<'_>) -> Vec<PodDisruptionBudget> {
    let spec = blueprint.spec;
    let servers = [
        ("mongodb", spec.mongodb.managed.as_ref().map_or(0, |managed| managed.members)),
        ("rabbitmq", spec.rabbitmq.managed.as_ref().map_or(0, |managed| managed.replicas)),
    ];
    let replicated = servers.into_iter().filter(|(_, members)| *members >= 2 && !blueprint.is_stopped());
    replicated.map(|(name, _)| budget(blueprint, name)).collect()
}

fn budget(blueprint: &Blueprint<'_>, component: &str) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: blueprint.identity.metadata(component, component),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            // A pod that is not ready anyway must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            selector: Some(blueprint.identity.selector(component)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
