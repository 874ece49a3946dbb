//! What the status says about the spec, the programs and the servers.

use super::{Report, Verdict};
use crate::{
    build::{Blueprint, Plan, Program, connections, deployment},
    crd::{DependencyStatus, Management, ServiceStatus},
    credentials::Credential,
    dereference::ClusterState,
    resource::{Kind, Resource},
    rollout,
};

impl Report {
    /// Reports what follows from the spec alone.
    pub fn describe(&mut self, blueprint: &Blueprint<'_>) {
        self.paused = blueprint.spec.management == Management::Paused;
        self.stopped = blueprint.is_stopped();
        self.version = Some(blueprint.version().to_owned());
        self.url = Some(blueprint.public_url());
        self.dependencies = dependencies(blueprint);
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
                missing.push(program.name());
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
        self.available = match missing.as_slice() {
            _ if self.stopped => Verdict::no("Stopped", "management is Stopped: no pods run"),
            [] => Verdict::yes("Serving", "every program has a ready pod"),
            missing => Verdict::no("NoPods", format!("no ready pod of: {}", missing.join(", "))),
        };
    }
}

fn deployment_of(plan: &Plan, program: Program) -> Option<&Resource> {
    let resources = plan.programs.iter().find(|(of, _)| *of == program).map(|(_, resources)| resources)?;
    resources.iter().find(|resource| resource.kind == Kind::Deployment)
}

fn dependencies(blueprint: &Blueprint<'_>) -> Vec<DependencyStatus> {
    let address = |(host, port): (String, u16)| format!("{host}:{port}");
    let servers = [
        ("postgres", address(connections::postgres_endpoint(blueprint)), Credential::Postgres),
        ("mongodb", connections::mongodb_hosts(blueprint).join(","), Credential::Mongodb),
        ("rabbitmq", address(connections::rabbitmq_endpoint(blueprint)), Credential::Rabbitmq),
    ];
    let status = |(name, endpoint, credential): (&str, String, Credential)| DependencyStatus {
        name: name.to_owned(),
        endpoint,
        secret_name: connections::secret_name(blueprint, credential),
    };
    servers.map(status).into()
}
