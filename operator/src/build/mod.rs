//! Builds every object of a platform, one file a kind. Pure: the same input gives the same objects.

pub mod config_map;
pub mod connections;
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

use std::collections::BTreeMap;

use rand::Rng;

use crate::{
    crd::{
        DeletionPolicy, DependencyStatus, EventPlatformSpec, ExposureType, Management, PaymentProvider,
        ServiceMonitorMode, Toggle,
    },
    credentials::{Credential, CredentialUpdate, SecretData},
    dereference::ClusterState,
    program::Program,
    resource::{Identity, Kind, Resource},
    servers::Targets,
    settings::Settings,
    status::dependencies,
    validate::Validated,
    versions::ServerImage,
};

/// Everything that decides what a platform consists of.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    pub identity: &'a Identity,
    pub spec: &'a EventPlatformSpec,
    /// Supplies what the spec leaves out.
    pub settings: &'a Settings,
    /// The generated credentials. Complete when objects are built.
    pub credentials: &'a BTreeMap<Credential, SecretData>,
    /// The Secrets that the spec refers to, by name. Complete when objects are built.
    pub references: &'a BTreeMap<String, SecretData>,
    /// The images of the managed servers.
    pub images: &'a BTreeMap<&'static str, ServerImage>,
    /// Whether pods of the programs still exist. While stopping, the servers wait for them.
    pub programs_running: bool,
    /// Whether the cluster has ServiceMonitors.
    pub knows_service_monitor: bool,
}

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

static NO_CREDENTIALS: BTreeMap<Credential, SecretData> = BTreeMap::new();
static NO_REFERENCES: BTreeMap<String, SecretData> = BTreeMap::new();

impl<'a> Blueprint<'a> {
    /// A blueprint that lacks credentials and references.
    pub fn new(
        identity: &'a Identity,
        spec: &'a EventPlatformSpec,
        settings: &'a Settings,
        images: &'a BTreeMap<&'static str, ServerImage>,
        cluster: &ClusterState,
    ) -> Self {
        Self {
            identity,
            spec,
            settings,
            credentials: &NO_CREDENTIALS,
            references: &NO_REFERENCES,
            images,
            programs_running: cluster.programs_running(identity),
            knows_service_monitor: cluster.kinds.contains(&Kind::ServiceMonitor),
        }
    }
}

impl Blueprint<'_> {
    /// The programs that run. The mock gateway does only where it takes the payments.
    pub fn programs(&self) -> Vec<Program> {
        let mock = self.spec.payments.provider == PaymentProvider::Mock;
        Program::ALL.into_iter().filter(|program| mock || *program != Program::MockGateway).collect()
    }

    /// Tag of the platform's images.
    pub fn version(&self) -> &str {
        self.spec.image.tag.as_deref().unwrap_or(&self.settings.image_tag)
    }

    pub fn image(&self, program: Program) -> String {
        let registry = self.spec.image.registry.as_deref().unwrap_or(&self.settings.image_registry);
        format!("{registry}/{}:{}", program.image(), self.version())
    }

    /// The image of a managed server.
    pub fn server_image(&self, server: &str) -> &str {
        self.images.get(server).map_or("", |server| &server.image)
    }

    /// The origin that browsers see.
    pub fn public_url(&self) -> String {
        let exposure = &self.spec.exposure;
        match (&exposure.url, &exposure.host) {
            (Some(url), _) => url.clone(),
            (None, Some(host)) if exposure.tls.is_some() => format!("https://{host}"),
            (None, Some(host)) => format!("http://{host}"),
            (None, None) => "http://localhost:8080".to_owned(),
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.spec.management == Management::Stopped
    }

    /// A generated credential as text.
    fn credential(&self, credential: Credential, key: &str) -> String {
        text(self.credentials.get(&credential), key)
    }

    /// A key of a Secret that the spec refers to, as text.
    fn reference(&self, name: &str, key: &str) -> String {
        text(self.references.get(name), key)
    }

    /// Every object of the platform but the credentials.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan {
            credentials: Vec::new(),
            foundation: Vec::new(),
            servers: Vec::new(),
            dependencies: dependencies(self),
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

fn text(data: Option<&SecretData>, key: &str) -> String {
    let bytes = data.and_then(|data| data.get(key)).map(Vec::as_slice).unwrap_or_default();
    String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_owned()
}
