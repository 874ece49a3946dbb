//! The stages in which a platform is brought forward, and the gates between them.
//!
//! credentials → traffic rules and configuration → servers → logins on the servers → migrations → programs → ingress →
//! prune. A closed gate stops what needs it and nothing else.
//!
//! RabbitMQ imports its users and their rights when it boots, so programs that change wait while it is rolled.

mod migrations;
mod pods;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::join;
use serde_json::Value;

use self::pods::{is_stuck, pod_trouble};
use crate::{
    apply::{Applier, Outcome},
    build::{Blueprint, Plan, Program, connections, deployment},
    child::{Child, HASH_ANNOTATION, Identity, Kind, Ownership},
    crd::{DeletionPolicy, DependencyStatus, EventPlatformSpec, Management, ServiceStatus},
    credentials::{Credential, SecretData},
    observe::{self, Observed},
    problem::Problem,
    servers::{ServerFailure, Servers},
    settings::Settings,
    status::{Report, Verdict},
    validate,
};

/// One pass over one platform.
pub struct Pass<'a> {
    /// Writes.
    pub applier: &'a Applier,
    /// Logs in to the servers.
    pub servers: &'a dyn Servers,
    /// What the operator was told.
    pub settings: &'a Settings,
    /// Who the platform is.
    pub identity: &'a Identity,
    /// What it shall be.
    pub spec: &'a EventPlatformSpec,
    /// What time it is.
    pub now: DateTime<Utc>,
    /// What was read.
    pub observed: Observed,
    /// Objects that somebody had changed and that were set right.
    pub restored: Vec<String>,
}

impl Pass<'_> {
    /// Does all that can be done now, and reports. A problem ends the pass where it occurs.
    pub async fn advance(&mut self, report: &mut Report) -> Result<(), Problem> {
        report.paused = self.spec.management == Management::Paused;
        report.stopped = self.spec.management == Management::Stopped;
        let nothing = BTreeMap::new();
        let no_credentials = BTreeMap::new();
        let blueprint = Blueprint {
            identity: self.identity,
            spec: self.spec,
            settings: self.settings,
            credentials: &no_credentials,
            references: &nothing,
            programs_running: self.programs_running(),
            knows_service_monitor: self.observed.known.contains(&Kind::ServiceMonitor),
        };
        report.version = Some(blueprint.version().to_owned());
        report.url = Some(blueprint.public_url());
        report.dependencies = dependencies(&blueprint);
        if report.paused {
            self.judge(&blueprint, None, report);
            return Ok(());
        }
        let result = self.forward(blueprint, report).await;
        if result.is_err() {
            self.judge(&blueprint, None, report);
        }
        result
    }

    async fn forward(&mut self, blueprint: Blueprint<'_>, report: &mut Report) -> Result<(), Problem> {
        validate::validate(&blueprint)?;
        let references = validate::resolve(&blueprint, &self.observed)?;
        let Some(credentials) = self.credentials(report).await? else { return Ok(()) };
        let blueprint = Blueprint { credentials: &credentials, references: &references, ..blueprint };
        let plan = blueprint.plan();
        self.stages(&blueprint, &plan, report).await
    }

    async fn stages(&mut self, blueprint: &Blueprint<'_>, plan: &Plan, report: &mut Report) -> Result<(), Problem> {
        self.apply_all(&plan.foundation, report).await?;
        for child in &plan.servers {
            if child.kind == Kind::StatefulSet {
                let claims = std::mem::take(&mut self.observed.claims);
                let expanded = self.applier.expand_claims(self.identity, child, &claims).await;
                self.observed.claims = claims;
                match expanded {
                    Ok(false) => {}
                    Ok(true) => report.pending.push(format!("{}: its volumes grow", child.name)),
                    // The volumes stay as they are, and so does what uses them.
                    Err(problem @ Problem::Refused { .. }) => {
                        report.note(&problem);
                        continue;
                    }
                    Err(problem) => return Err(problem),
                }
            }
            self.apply(child, report).await?;
        }
        self.free_stuck_pods(report).await?;
        let failures = self.look_after_servers(blueprint, plan, report).await;
        let applied = self.programs(plan, &failures, report).await?;
        // Nobody is let in before there is somebody to answer.
        for child in &plan.exposure {
            if applied || self.observed.get(child.kind, &child.name).is_some() {
                self.apply(child, report).await?;
            }
        }
        self.judge(blueprint, Some(plan), report);
        if applied {
            self.applier.prune(self.identity, plan.children(), &mut self.observed).await?;
        }
        Ok(())
    }

    /// Whether pods of the programs are still there.
    fn programs_running(&self) -> bool {
        let mut deployments = Program::ALL
            .iter()
            .filter_map(|program| self.observed.get(Kind::Deployment, &self.identity.child_name(program.name())));
        deployments.any(|deployment| deployment["status"]["replicas"].as_i64().unwrap_or(0) > 0)
    }

    /// The made-up credentials, made where there are none yet, with the logins that a newer release needs. Nothing while
    /// a predecessor's are about to go.
    async fn credentials(&mut self, report: &mut Report) -> Result<Option<BTreeMap<Credential, SecretData>>, Problem> {
        let established = self.observed.is_established(self.identity);
        let owned = self.spec.deletion.policy == DeletionPolicy::Delete;
        let mut credentials = BTreeMap::new();
        for credential in Credential::ALL {
            let name = self.identity.child_name(credential.suffix());
            let secret = match self.existing_credential(&name).await? {
                Some(secret) => secret,
                None if established => return Err(Problem::CredentialLost { secret: name, keys: Vec::new() }),
                None => {
                    let made = credential.generate(self.identity, owned, &mut rand::rng());
                    match self.applier.create(self.identity, Kind::Secret, &made).await? {
                        Some(secret) => secret,
                        None => return Err(Problem::Conflict(format!("Secret {name} has just been made"))),
                    }
                }
            };
            if self.identity.ownership(&secret) == Ownership::Predecessor
                || secret["metadata"].get("deletionTimestamp").is_some()
            {
                report.pending.push(format!("Secret {name} of a deleted platform of this name is about to go"));
                return Ok(None);
            }
            let secret = self.with_logins(credential, secret).await?;
            let has_owner = secret["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
            let data =
                credential.read(&secret).map_err(|keys| Problem::CredentialLost { secret: name.clone(), keys })?;
            let secret =
                if has_owner == owned { secret } else { self.applier.adopt(self.identity, &name, owned).await? };
            self.observed.put(Kind::Secret, &name, secret);
            credentials.insert(credential, data);
        }
        Ok(Some(credentials))
    }

    /// A made-up credential with the logins that it lacked.
    async fn with_logins(&self, credential: Credential, secret: Value) -> Result<Value, Problem> {
        let logins = credential.missing_logins(&secret, &mut rand::rng());
        if logins.is_empty() {
            return Ok(secret);
        }
        self.applier.add_keys(self.identity, &secret, &logins).await
    }

    async fn existing_credential(&self, name: &str) -> Result<Option<Value>, Problem> {
        if let Some(secret) = self.observed.get(Kind::Secret, name) {
            return match self.identity.ownership(secret) {
                Ownership::Foreign => Err(taken(name)),
                _ => Ok(Some(secret.clone())),
            };
        }
        match observe::get(self.applier.client(), self.identity, Kind::Secret, name).await? {
            Some(_) => Err(taken(name)),
            None => Ok(None),
        }
    }

    async fn apply_all(&mut self, children: &[Child], report: &mut Report) -> Result<(), Problem> {
        for child in children {
            self.apply(child, report).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, child: &Child, report: &mut Report) -> Result<(), Problem> {
        match self.applier.apply(self.identity, child, &mut self.observed).await? {
            Outcome::Unchanged | Outcome::Created | Outcome::Updated => {}
            Outcome::Restored => self.restored.push(format!("{} {}", child.kind.name(), child.name)),
            Outcome::Waiting(why) => report.pending.push(why),
        }
        Ok(())
    }

    /// A StatefulSet never replaces a pod that is stuck on its way to an older revision.
    async fn free_stuck_pods(&mut self, report: &mut Report) -> Result<(), Problem> {
        let stuck: Vec<Value> = ["postgres", "mongodb", "rabbitmq"]
            .iter()
            .filter_map(|server| self.observed.get(Kind::StatefulSet, &self.identity.child_name(server)))
            .flat_map(|set| self.observed.pods.iter().filter(|pod| is_stuck(set, pod)).cloned())
            .collect();
        for pod in &stuck {
            self.applier.delete_pod(self.identity, pod).await?;
            report.pending.push(format!(
                "pod {} was stuck in an old revision and is made anew",
                pod["metadata"]["name"].as_str().unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Looks after the servers, and says which of them are not ready.
    async fn look_after_servers(
        &self,
        blueprint: &Blueprint<'_>,
        plan: &Plan,
        report: &mut Report,
    ) -> BTreeMap<&'static str, String> {
        let mut failures = BTreeMap::new();
        if report.stopped {
            report.dependencies_ready = Verdict::no("Stopped", "management is Stopped");
            return failures;
        }
        let (postgres, mongodb, rabbitmq) = (
            connections::postgres_target(blueprint),
            connections::mongodb_target(blueprint),
            connections::rabbitmq_target(blueprint),
        );
        let (postgres, mongodb, rabbitmq) =
            join!(self.servers.postgres(&postgres), self.servers.mongodb(&mongodb), self.servers.rabbitmq(&rabbitmq));
        let mut reason = None;
        for (server, result) in [("postgres", postgres), ("mongodb", mongodb), ("rabbitmq", rabbitmq)] {
            let rollout = self.stateful_set(plan, server).and_then(|set| self.rollout(set));
            let failure = match (result, rollout) {
                (Err(failure), rollout) => {
                    let starting = rollout.is_some() && matches!(failure, ServerFailure::Unreachable(_));
                    let word = if starting { "Starting" } else { failure.reason() };
                    if matches!(failure, ServerFailure::AuthFailed(_) | ServerFailure::Refused(_)) {
                        report.degraded.push((failure.reason().to_owned(), failure.to_string()));
                    }
                    Some((word, rollout.unwrap_or_else(|| failure.to_string())))
                }
                (Ok(()), Some(rollout)) => Some(("Starting", rollout)),
                (Ok(()), None) => None,
            };
            if let Some((word, message)) = failure {
                reason.get_or_insert(word);
                failures.insert(server, message);
            }
        }
        let messages: Vec<String> = failures.iter().map(|(server, message)| format!("{server}: {message}")).collect();
        report.dependencies_ready = match reason {
            None => Verdict::yes("Ready", "PostgreSQL, MongoDB and RabbitMQ let the platform in"),
            Some(reason) => Verdict::no(reason, messages.join("; ")),
        };
        failures
    }

    /// The StatefulSet of a server, if it runs here.
    fn stateful_set<'p>(&self, plan: &'p Plan, server: &str) -> Option<&'p Child> {
        let name = self.identity.child_name(server);
        plan.servers.iter().find(|child| child.kind == Kind::StatefulSet && child.name == name)
    }

    /// What is still under way in a StatefulSet or Deployment.
    fn rollout(&self, child: &Child) -> Option<String> {
        let live = self.observed.get(child.kind, &child.name);
        let Some(live) = live else { return Some(format!("{} is about to be made", child.name)) };
        let count = |field: &str| live["status"][field].as_i64().unwrap_or(0);
        let desired = live["spec"]["replicas"].as_i64().unwrap_or(1);
        let observed = count("observedGeneration") >= live["metadata"]["generation"].as_i64().unwrap_or(1);
        let ready = if child.kind == Kind::Deployment { count("availableReplicas") } else { count("readyReplicas") };
        let updated = count("updatedReplicas").min(ready);
        if observed && count("replicas") == desired && updated == desired {
            return None;
        }
        let component = child.object["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap_or_default();
        let trouble = self.observed.pods_of(component).find_map(pod_trouble);
        let trouble = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
        Some(format!("{} has {updated} of {desired} pods ready{trouble}", child.name))
    }

    /// Whether a child has been applied as it is wanted now.
    fn is_current(&self, child: &Child) -> bool {
        let wanted = |object: &Value| object["metadata"]["annotations"][HASH_ANNOTATION].clone();
        self.observed.get(child.kind, &child.name).is_some_and(|live| wanted(live) == wanted(&child.object))
    }

    /// Whether the programs serve, and how many pods of each.
    fn judge(&self, blueprint: &Blueprint<'_>, plan: Option<&Plan>, report: &mut Report) {
        let mut missing = Vec::new();
        report.services.clear();
        for program in blueprint.programs() {
            let name = blueprint.identity.child_name(program.name());
            let live = self.observed.get(Kind::Deployment, &name);
            let available = live.and_then(|live| live["status"]["availableReplicas"].as_i64()).unwrap_or(0);
            if available == 0 {
                missing.push(program.name());
            }
            let child = plan.and_then(|plan| deployment_of(plan, program));
            let rollout = child.and_then(|child| self.rollout(child));
            let current = match child {
                Some(child) => self.is_current(child),
                None => plan.is_none() && live.is_some(),
            };
            let updated = live.and_then(|live| live["status"]["updatedReplicas"].as_i64()).unwrap_or(0).min(available);
            let desired = live.and_then(|live| live["spec"]["replicas"].as_i64());
            let desired = desired.or(deployment::replicas(blueprint, program).map(i64::from)).unwrap_or(1);
            report.services.push(ServiceStatus {
                name: program.name().to_owned(),
                ready: if current { i32::try_from(updated).unwrap_or(i32::MAX) } else { 0 },
                desired: i32::try_from(desired).unwrap_or(i32::MAX),
                image: blueprint.image(program),
            });
            report.pending.extend(rollout);
        }
        report.available = match missing.as_slice() {
            _ if report.stopped => Verdict::no("Stopped", "management is Stopped: no pods run"),
            [] => Verdict::yes("Serving", "every program has a pod that serves"),
            missing => Verdict::no("NoPods", format!("no pod is ready of: {}", missing.join(", "))),
        };
    }
}

fn taken(name: &str) -> Problem {
    Problem::NameTaken { kind: "Secret".to_owned(), name: name.to_owned() }
}

fn deployment_of(plan: &Plan, program: Program) -> Option<&Child> {
    let children = plan.programs.iter().find(|(of, _)| *of == program).map(|(_, children)| children)?;
    children.iter().find(|child| child.kind == Kind::Deployment)
}

/// The servers for the status.
fn dependencies(blueprint: &Blueprint<'_>) -> Vec<DependencyStatus> {
    let at = |(host, port): (String, u16)| format!("{host}:{port}");
    let servers = [
        ("postgres", at(connections::postgres_endpoint(blueprint)), Credential::Postgres),
        ("mongodb", connections::mongodb_hosts(blueprint).join(","), Credential::Mongodb),
        ("rabbitmq", at(connections::rabbitmq_endpoint(blueprint)), Credential::Rabbitmq),
    ];
    let status = |(name, endpoint, credential): (&str, String, Credential)| DependencyStatus {
        name: name.to_owned(),
        endpoint,
        secret_name: connections::secret_name(blueprint, credential),
    };
    servers.map(status).into()
}
