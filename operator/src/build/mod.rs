//! From a valid platform to every object it consists of. Pure: the same input gives the same objects.

pub mod config_map;
pub mod connections;
pub mod deployment;
pub mod exposure;
pub mod job;
pub mod network_policy;
pub mod pod;
pub mod program;
pub mod scaling;
pub mod secret;
pub mod service;
pub mod service_monitor;
pub mod stateful_set;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::program::Program;
use crate::{
    child::{Child, Identity},
    crd::{EventPlatformSpec, ExposureType, Management, PaymentProvider, ServiceMonitorMode, Toggle},
    credentials::{Credential, SecretData},
    settings::Settings,
};

/// Everything that decides what a platform consists of.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    /// Who the platform is.
    pub identity: &'a Identity,
    /// What it shall be.
    pub spec: &'a EventPlatformSpec,
    /// What the operator takes where the spec says nothing.
    pub settings: &'a Settings,
    /// The made-up credentials; all of them.
    pub credentials: &'a BTreeMap<Credential, SecretData>,
    /// The Secrets that the spec refers to, by name; all of them.
    pub references: &'a BTreeMap<String, SecretData>,
    /// Whether pods of the programs are still there: while stopping, servers go after them.
    pub programs_running: bool,
    /// Whether the cluster knows ServiceMonitors.
    pub knows_service_monitor: bool,
}

/// The objects of a platform, by the stage in which they are applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Traffic rules, configuration and Services: nothing that runs.
    pub foundation: Vec<Child>,
    /// PostgreSQL, MongoDB and RabbitMQ.
    pub servers: Vec<Child>,
    /// One Job per program that brings its schema up to date.
    pub migrations: Vec<(Program, Child)>,
    /// What runs of each program.
    pub programs: Vec<(Program, Vec<Child>)>,
    /// Ingress or route, and monitoring.
    pub exposure: Vec<Child>,
}

impl Plan {
    /// Every object of the plan.
    pub fn children(&self) -> impl Iterator<Item = &Child> {
        let migrations = self.migrations.iter().map(|(_, child)| child);
        let programs = self.programs.iter().flat_map(|(_, children)| children);
        self.foundation.iter().chain(&self.servers).chain(migrations).chain(programs).chain(&self.exposure)
    }

    /// The migration of a program, if it has one.
    pub fn migration(&self, program: Program) -> Option<&Child> {
        self.migrations.iter().find(|(of, _)| *of == program).map(|(_, child)| child)
    }
}

impl Blueprint<'_> {
    /// The programs that run: all, but the mock gateway only where it takes the payments.
    pub fn programs(&self) -> Vec<Program> {
        let mock = self.spec.payments.provider == PaymentProvider::Mock;
        Program::ALL.into_iter().filter(|program| mock || *program != Program::MockGateway).collect()
    }

    /// Tag of the platform's images, and its version.
    pub fn version(&self) -> &str {
        self.spec.image.tag.as_deref().unwrap_or(&self.settings.image_tag)
    }

    /// Image of a program.
    pub fn image(&self, program: Program) -> String {
        let registry = self.spec.image.registry.as_deref().unwrap_or(&self.settings.image_registry);
        format!("{registry}/{}:{}", program.image(), self.version())
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

    /// Whether no pods shall run.
    pub fn is_stopped(&self) -> bool {
        self.spec.management == Management::Stopped
    }

    /// Text of a made-up credential. Credentials are complete before anything is built.
    fn credential(&self, credential: Credential, key: &str) -> String {
        text(self.credentials.get(&credential), key)
    }

    /// Text of a Secret that the spec refers to. References are complete before anything is built.
    fn reference(&self, name: &str, key: &str) -> String {
        text(self.references.get(name), key)
    }

    /// All objects of the platform.
    pub fn plan(&self) -> Plan {
        let programs = self.programs();
        let mut plan = Plan::default();
        if self.spec.network_policy.mode == Toggle::Enabled {
            plan.foundation.extend(network_policy::network_policies(self));
        }
        plan.foundation.extend(config_map::config_maps(self));
        plan.foundation.extend(secret::derived_secrets(self));
        plan.foundation.extend(service::services(self));
        plan.servers.extend(stateful_set::stateful_sets(self));
        plan.servers.extend(scaling::server_disruption_budgets(self));
        for program in programs {
            if program.migrates() {
                plan.migrations.push((program, job::migration(self, program)));
            }
            let mut children = vec![deployment::deployment(self, program)];
            children.extend(scaling::autoscaler(self, program));
            children.extend(scaling::disruption_budget(self, program));
            plan.programs.push((program, children));
        }
        match self.spec.exposure.type_ {
            ExposureType::None => {}
            ExposureType::Ingress => plan.exposure.push(exposure::ingress(self)),
            ExposureType::Gateway => plan.exposure.push(exposure::http_route(self)),
        }
        match self.spec.monitoring.service_monitor {
            ServiceMonitorMode::Auto if !self.knows_service_monitor => {}
            ServiceMonitorMode::Disabled => {}
            _ => plan.exposure.push(service_monitor::service_monitor(self)),
        }
        plan.sealed()
    }
}

impl Plan {
    fn sealed(self) -> Self {
        let seal = |children: Vec<Child>| children.into_iter().map(Child::sealed).collect::<Vec<_>>();
        Self {
            foundation: seal(self.foundation),
            servers: seal(self.servers),
            migrations: self.migrations.into_iter().map(|(program, child)| (program, child.sealed())).collect(),
            programs: self.programs.into_iter().map(|(program, children)| (program, seal(children))).collect(),
            exposure: seal(self.exposure),
        }
    }
}

fn text(data: Option<&SecretData>, key: &str) -> String {
    let bytes = data.and_then(|data| data.get(key)).map(Vec::as_slice).unwrap_or_default();
    String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_owned()
}
