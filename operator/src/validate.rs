//! What the API server cannot judge when a platform is admitted. Pure.

use std::collections::{BTreeMap, HashSet};

use crate::{
    build::{Blueprint, Program},
    crd::Resources,
    credentials::SecretData,
    observe::{Observed, references},
    problem::Problem,
    quantity,
};

/// Checks a spec as far as it goes beyond the rules of the resource. `blueprint` may lack secrets.
pub fn validate(blueprint: &Blueprint<'_>) -> Result<(), Problem> {
    let mut faults = Vec::new();
    for program in Program::ALL {
        let service = program.service(blueprint);
        let path = format!("services.{}", program.name());
        let environment = program.environment(blueprint);
        let mut reserved: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        reserved.extend(program.secret_environment(blueprint).iter().map(|(name, _)| *name));
        for variable in &service.env {
            if reserved.contains(&variable.name.as_str()) {
                faults.push(format!("{path}.env: {} is set by the operator; remove it", variable.name));
            }
            if service.env.iter().filter(|other| other.name == variable.name).count() > 1 {
                faults.push(format!("{path}.env: {} is given twice", variable.name));
            }
        }
        check_resources(&path, service.resources.as_ref(), &mut faults);
        let requests_cpu = service.resources.as_ref().is_none_or(|resources| resources.requests.contains_key("cpu"));
        if service.autoscaling.is_some() && !requests_cpu {
            faults.push(format!("{path}.resources.requests needs cpu, which autoscaling aims at"));
        }
    }
    let spec = blueprint.spec;
    let postgres = spec.postgres.managed.as_ref().and_then(|managed| managed.resources.as_ref());
    let mongodb = spec.mongodb.managed.as_ref().and_then(|managed| managed.resources.as_ref());
    let rabbitmq = spec.rabbitmq.managed.as_ref().and_then(|managed| managed.resources.as_ref());
    check_resources("postgres.managed", postgres, &mut faults);
    check_resources("mongodb.managed", mongodb, &mut faults);
    check_resources("rabbitmq.managed", rabbitmq, &mut faults);
    if let Some(external) = &spec.mongodb.external {
        for host in &external.hosts {
            if host.rsplit_once(':').is_none_or(|(name, port)| name.is_empty() || port.parse::<u16>().is_err()) {
                faults.push(format!("mongodb.external.hosts: {host} is not host:port"));
            }
        }
        if external.hosts.len() > 1 && external.replica_set.is_none() {
            faults.push("mongodb.external.replicaSet is needed with more than one host".to_owned());
        }
    }
    let mut told = HashSet::new();
    faults.retain(|fault| told.insert(fault.clone()));
    if faults.is_empty() { Ok(()) } else { Err(Problem::Invalid(faults)) }
}

fn check_resources(path: &str, resources: Option<&Resources>, faults: &mut Vec<String>) {
    let Some(resources) = resources else { return };
    for (field, quantities) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for (name, text) in quantities {
            if quantity::parse(text).is_none_or(|amount| amount < 0) {
                faults.push(format!("{path}.resources.{field}.{name}: {text} is not a quantity such as 250m or 128Mi"));
            }
        }
    }
    for (name, limit) in &resources.limits {
        let request = resources.requests.get(name).and_then(|request| quantity::parse(request));
        if request.is_some() && request > quantity::parse(limit) {
            faults.push(format!("{path}.resources: more {name} is asked for than allowed"));
        }
    }
}

/// The content of every Secret that the spec refers to, or which of them are missing or lack keys.
pub fn resolve(blueprint: &Blueprint<'_>, observed: &Observed) -> Result<BTreeMap<String, SecretData>, Problem> {
    let mut faults = Vec::new();
    let mut resolved = BTreeMap::new();
    for reference in references(blueprint.spec) {
        let (field, name) = (reference.field, &reference.name);
        match observed.references.get(name).and_then(Option::as_ref) {
            None => faults.push(format!("Secret {name}, which spec.{field} names, does not exist; create it")),
            Some(data) => {
                let missing = reference.keys.iter().filter(|key| data.get(**key).is_none_or(Vec::is_empty));
                faults.extend(
                    missing.map(|key| format!("Secret {name}, which spec.{field} names, has no {key}; add it")),
                );
                resolved.insert(name.clone(), data.clone());
            }
        }
    }
    if faults.is_empty() { Ok(resolved) } else { Err(Problem::ReferenceMissing(faults)) }
}
