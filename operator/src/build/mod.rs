//! Builds every object of a platform, one file a kind. Pure: the same input gives the same objects.

pub mod config_map;
pub mod connections;
pub mod dependencies;
pub mod deployment;
pub mod horizontal_pod_autoscaler;
pub mod http_route;
pub mod ingress;
pub mod job;
pub mod network_policy;
pub mod pod;
pub mod pod_disruption_budget;
pub mod program;
pub mod secret;
pub mod service;
pub mod service_monitor;
pub mod stateful_set;

#[cfg(test)]
mod tests;

use rand::Rng;

use crate::{
    blueprint::{Blueprint, Validated},
    crd::{DeletionPolicy, DependencyStatus, ExposureType, ServiceMonitorMode, Toggle},
    credentials::{Credential, CredentialUpdate},
    program::Program,
    resource::Resource,
    servers::Targets,
};

/// The objects of a platform, by the stage in which they are applied.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to write so that the generated credentials are complete.
    pub credentials: Vec<CredentialUpdate>,
    /// Network policies, configuration and Services: nothing that runs.
    pub foundation: Vec<Resource>,
    /// PostgreSQL, MongoDB and RabbitMQ.
    pub servers: Vec<Resource>,
    /// What the status says of them.
    pub dependencies: Vec<DependencyStatus>,
    /// What has to be on the servers.
    pub targets: Targets,
    /// One Job for each program with a schema.
    pub migrations: Vec<(Program, Resource)>,
    /// The Deployment of each program and what scales it.
    pub programs: Vec<(Program, Vec<Resource>)>,
    /// Ingress or HTTPRoute, and ServiceMonitor.
    pub exposure: Vec<Resource>,
}

impl Plan {
    /// Every object of the plan but the credentials.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        let migrations = self.migrations.iter().map(|(_, job)| job);
        let programs = self.programs.iter().flat_map(|(_, resources)| resources);
        self.foundation.iter().chain(&self.servers).chain(migrations).chain(programs).chain(&self.exposure)
    }

    pub fn migration(&self, program: Program) -> Option<&Resource> {
        self.migrations.iter().find(|(of, _)| *of == program).map(|(_, job)| job)
    }
}

/// Builds every object of a platform. `rng` supplies the credentials that do not exist yet.
pub fn build(validated: &Validated<'_>, rng: &mut impl Rng) -> Plan {
    let Blueprint { identity, spec, .. } = validated.blueprint;
    let owned = spec.deletion.policy == DeletionPolicy::Delete;
    let existing = |credential| validated.credentials.get(&credential);
    let updates = Credential::ALL
        .map(|credential| credential.update(identity, existing(credential), owned, &validated.record, rng));
    let credentials = updates.iter().map(|update| (update.credential, update.data.clone())).collect();
    let blueprint = Blueprint { credentials: &credentials, references: &validated.references, ..validated.blueprint };
    Plan { credentials: updates.into(), ..blueprint.plan() }
}

impl Blueprint<'_> {
    /// Every object of the platform but the credentials.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan {
            credentials: Vec::new(),
            foundation: Vec::new(),
            servers: Vec::new(),
            dependencies: dependencies::dependencies(self),
            targets: Targets {
                postgres: connections::postgres_target(self),
                mongodb: connections::mongodb_target(self),
                rabbitmq: connections::rabbitmq_target(self),
            },
            migrations: Vec::new(),
            programs: Vec::new(),
            exposure: Vec::new(),
        };
        if self.spec.network_policy.mode == Toggle::Enabled {
            plan.foundation.extend(network_policy::network_policies(self).into_iter().map(Resource::from));
        }
        plan.foundation.extend(config_map::rabbitmq(self).map(Resource::from));
        plan.foundation.extend(secret::derived_secrets(self).into_iter().map(Resource::from));
        plan.foundation.extend(service::services(self).into_iter().map(Resource::from));
        plan.servers.extend(stateful_set::stateful_sets(self).into_iter().map(Resource::from));
        plan.servers.extend(pod_disruption_budget::of_servers(self).into_iter().map(Resource::from));
        for program in self.programs() {
            if program.migrates() {
                plan.migrations.push((program, job::migration(self, program).into()));
            }
            let mut resources = vec![deployment::deployment(self, program).into()];
            resources.extend(horizontal_pod_autoscaler::autoscaler(self, program).map(Resource::from));
            resources.extend(pod_disruption_budget::of_program(self, program).map(Resource::from));
            plan.programs.push((program, resources));
        }
        match self.spec.exposure.type_ {
            ExposureType::None => {}
            ExposureType::Ingress => plan.exposure.push(ingress::ingress(self).into()),
            ExposureType::Gateway => plan.exposure.push(http_route::http_route(self)),
        }
        match self.spec.monitoring.service_monitor {
            ServiceMonitorMode::Auto if !self.knows_service_monitor => {}
            ServiceMonitorMode::Disabled => {}
            _ => plan.exposure.push(service_monitor::service_monitor(self)),
        }
        plan
    }
}
