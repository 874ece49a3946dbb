//! What the status says about the spec, the programs and the servers.

use super::{Report, Verdict};
use crate::{
    build::{Blueprint, Plan, connections, deployment},
    crd::{DependencyStatus, Management, ServiceStatus},
    credentials::Credential,
    dereference::ClusterState,
    program::Program,
    quantity,
    resource::{Kind, Resource},
    rollout, versions,
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

/// The servers, and the names on them once the credentials are known.
pub fn dependencies(blueprint: &Blueprint<'_>) -> Vec<DependencyStatus> {
    let spec = blueprint.spec;
    let name = |name: String| (!name.is_empty()).then_some(name);
    let prefix = |prefix: &Option<String>| name(connections::prefix_or_own(blueprint, prefix.as_ref()));
    let postgres = spec.postgres.external.as_ref().and_then(|external| prefix(&external.prefix));
    let mongodb = spec.mongodb.external.as_ref().and_then(|external| prefix(&external.prefix));
    let vhost = spec.rabbitmq.external.as_ref().map(|external| external.vhost.as_ref());
    let vhost = vhost.and_then(|vhost| name(connections::vhost_or_own(blueprint, vhost)));
    let address = |(host, port): (String, u16)| format!("{host}:{port}");
    let servers = [
        ("postgres", address(connections::postgres_endpoint(blueprint)), Credential::Postgres, postgres, None),
        ("mongodb", connections::mongodb_hosts(blueprint).join(","), Credential::Mongodb, mongodb, None),
        ("rabbitmq", address(connections::rabbitmq_endpoint(blueprint)), Credential::Rabbitmq, None, vhost),
    ];
    let status = |(name, endpoint, credential, prefix, vhost): (&str, String, Credential, _, _)| DependencyStatus {
        name: name.to_owned(),
        endpoint,
        image: blueprint.images.get(name).map(|server| server.image.clone()),
        version: blueprint.images.get(name).and_then(|server| versions::version(&server.image)).map(str::to_owned),
        secret_name: connections::secret_name(blueprint, credential),
        storage: None,
        prefix,
        vhost,
    };
    servers.map(status).into()
}
