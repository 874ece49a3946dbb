//! What the status says about the spec, the programs and the servers.

use super::{Report, Verdict};
use crate::{
    blueprint::Blueprint,
    build::{Plan, dependencies::dependencies, deployment},
    crd::{Management, ServiceStatus},
    dereference::ClusterState,
    program::Program,
    quantity,
    resource::{Kind, Resource},
    rollout,
};

impl Report {
    /// Reports what follows from the spec alone.
    pub fn describe(&mut self, blueprint: &Blueprint<'_>) {
        self.paused = blueprint.spec.management == Management::Paused;
        self.stopped = blueprint.is_stopped();
        self.url = Some(blueprint.public_url());
        // What is in use stays until it is known what comes instead.
        if self.dependencies.is_empty() {
            self.dependencies = dependencies(blueprint);
        }
    }

    /// Reports the sizes of the servers' volumes.
    pub fn observe_volumes(&mut self, cluster: &ClusterState) {
        for dependency in &mut self.dependencies {
            let claims = cluster.claims_of(&dependency.name);
            let sizes = claims.filter_map(|claim| claim["spec"]["resources"]["requests"]["storage"].as_str());
            dependency.storage = sizes.min_by_key(|size| quantity::parse(size)).map(str::to_owned);
        }
    }

    /// Reports whether the programs serve, and the pods of each. Without a plan, those of whatever version is running.
    pub fn observe_programs(&mut self, blueprint: &Blueprint<'_>, cluster: &ClusterState, plan: Option<&Plan>) {
        let mut missing = Vec::new();
        self.services.clear();
        for program in blueprint.programs() {
            let name = blueprint.identity.resource_name(program.name());
            let live = cluster.get(Kind::Deployment, &name);
            let available = live.and_then(|live| live["status"]["availableReplicas"].as_i64()).unwrap_or(0);
            if available == 0 {
                let why = live.and_then(|live| rollout::failure(cluster, program.name(), live));
                missing.push(format!("{}{}", program.name(), why.map(|why| format!(" ({why})")).unwrap_or_default()));
            }
            let deployment = plan.and_then(|plan| deployment_of(plan, program));
            let progress = deployment.and_then(|deployment| rollout::progress(cluster, deployment));
            let current = match deployment {
                Some(deployment) => rollout::is_current(cluster, deployment),
                None => plan.is_none() && live.is_some(),
            };
            let updated = live.and_then(|live| live["status"]["updatedReplicas"].as_i64()).unwrap_or(0).min(available);
            let desired = live.and_then(|live| live["spec"]["replicas"].as_i64());
            let desired = desired.or(deployment::replicas(blueprint, program).map(i64::from)).unwrap_or(1);
            self.services.push(ServiceStatus {
                name: program.name().to_owned(),
                ready: if current { i32::try_from(updated).unwrap_or(i32::MAX) } else { 0 },
                desired: i32::try_from(desired).unwrap_or(i32::MAX),
                image: blueprint.image(program),
            });
            self.pending.extend(progress);
        }
        if let Some(plan) = plan
            && plan.programs.iter().all(|(program, _)| is_rolled_out(cluster, plan, *program))
            && !self.stopped
        {
            self.version = Some(blueprint.version().to_owned());
        }
        self.available = match missing.as_slice() {
            _ if self.stopped => Verdict::no("Stopped", "management is Stopped: no pods run"),
            [] => Verdict::yes("Serving", "every program has a ready pod"),
            missing => Verdict::no("NoPods", format!("no ready pod of: {}", missing.join(", "))),
        };
    }
}

/// Whether every pod of a program is of the desired version.
fn is_rolled_out(cluster: &ClusterState, plan: &Plan, program: Program) -> bool {
    deployment_of(plan, program).is_some_and(|deployment| {
        rollout::is_current(cluster, deployment) && rollout::progress(cluster, deployment).is_none()
    })
}

fn deployment_of(plan: &Plan, program: Program) -> Option<&Resource> {
    let resources = plan.programs.iter().find(|(of, _)| *of == program).map(|(_, resources)| resources)?;
    resources.iter().find(|resource| resource.kind == Kind::Deployment)
}
