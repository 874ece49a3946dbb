//! Checks what the API server cannot check at admission. Pure.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::{
    build::{Blueprint, Program},
    crd::Resources,
    credentials::{Credential, SecretData},
    dereference::{ClusterState, references},
    error::{Error, Result},
    quantity,
    resource::{Kind, Ownership},
    status::Report,
};

/// A platform that can be built.
#[derive(Clone, Debug)]
pub struct Validated<'a> {
    /// Without credentials and references.
    pub blueprint: Blueprint<'a>,
    /// The content of every Secret that the spec refers to, by name.
    pub references: BTreeMap<String, SecretData>,
    /// The Secrets of the generated credentials that exist.
    pub credentials: BTreeMap<Credential, Value>,
}

/// Checks a spec against what the cluster holds. `None` while nothing may be written.
pub fn validate<'a>(
    blueprint: &Blueprint<'a>,
    cluster: &ClusterState,
    report: &mut Report,
) -> Result<Option<Validated<'a>>> {
    report.describe(blueprint);
    if report.paused {
        report.observe_programs(blueprint, cluster, None);
        return Ok(None);
    }
    let validated = check(blueprint, cluster, report);
    if validated.is_err() {
        report.observe_programs(blueprint, cluster, None);
    }
    validated
}

fn check<'a>(blueprint: &Blueprint<'a>, cluster: &ClusterState, report: &mut Report) -> Result<Option<Validated<'a>>> {
    check_spec(blueprint)?;
    let references = resolve_references(blueprint, cluster)?;
    let credentials = find_credentials(blueprint, cluster)?;
    if let Some(secret) = credentials.values().find(|secret| is_leaving(blueprint, secret)) {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        report.pending.push(format!("Secret {name} of a deleted platform of this name is still being deleted"));
        return Ok(None);
    }
    Ok(Some(Validated { blueprint: *blueprint, references, credentials }))
}

/// Whether a Secret belongs to a deleted platform of the same name.
fn is_leaving(blueprint: &Blueprint<'_>, secret: &Value) -> bool {
    blueprint.identity.ownership(secret) == Ownership::Predecessor
        || secret["metadata"].get("deletionTimestamp").is_some()
}

/// Checks the rules on the spec that CEL cannot express.
pub fn check_spec(blueprint: &Blueprint<'_>) -> Result<()> {
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
            faults.push(format!("{path}.resources.requests needs cpu, the base of autoscaling"));
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
    let mut seen = HashSet::new();
    faults.retain(|fault| seen.insert(fault.clone()));
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
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
            faults.push(format!("{path}.resources: the request of {name} exceeds its limit"));
        }
    }
}

/// The content of every Secret that the spec refers to. Fails if one does not exist or lacks keys.
pub fn resolve_references(blueprint: &Blueprint<'_>, cluster: &ClusterState) -> Result<BTreeMap<String, SecretData>> {
    let mut faults = Vec::new();
    let mut resolved = BTreeMap::new();
    for reference in references(blueprint.spec) {
        let (field, name) = (reference.field, &reference.name);
        match cluster.references.get(name).and_then(Option::as_ref) {
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
    if faults.is_empty() { Ok(resolved) } else { Err(Error::ReferenceMissing(faults)) }
}

/// The existing Secrets of the generated credentials. Fails if one is lost or belongs to somebody else.
fn find_credentials(blueprint: &Blueprint<'_>, cluster: &ClusterState) -> Result<BTreeMap<Credential, Value>> {
    let identity = blueprint.identity;
    let established = cluster.is_established(identity);
    let mut found = BTreeMap::new();
    for credential in Credential::ALL {
        let name = identity.resource_name(credential.suffix());
        let Some(secret) = cluster.get(Kind::Secret, &name) else {
            if established && cluster.had_credential(identity, credential) {
                return Err(Error::CredentialLost { secret: name, keys: Vec::new() });
            }
            continue;
        };
        if identity.ownership(secret) == Ownership::Foreign {
            return Err(Error::NameTaken { kind: Kind::Secret.name().to_owned(), name });
        }
        let keys = credential.lost_keys(secret);
        if !keys.is_empty() && !is_leaving(blueprint, secret) {
            return Err(Error::CredentialLost { secret: name, keys });
        }
        found.insert(credential, secret.clone());
    }
    Ok(found)
}
