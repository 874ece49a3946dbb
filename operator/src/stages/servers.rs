//! PostgreSQL, MongoDB and RabbitMQ: their StatefulSets and volumes, and the logins on them.

use std::collections::BTreeMap;

use futures::join;
use serde_json::Value;

use super::{Failures, Stages};
use crate::{
    error::{Error, Result},
    resource::{KEEP_ANNOTATIONS, Kind, Resource},
    rollout::{self, is_complete, is_current, is_stuck, progress},
    servers::{Prepared, ServerFailure, Targets},
    status::Verdict,
    versions::{self, IMAGE_ANNOTATION},
};

/// The size of the volumes in a StatefulSet.
const TEMPLATE_SIZE: &str = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";

impl Stages<'_> {
    pub(super) async fn apply_servers(&mut self) -> Result<()> {
        let plan = self.plan;
        self.annotate_claims().await?;
        for resource in &plan.servers {
            match resource.kind {
                Kind::StatefulSet => self.apply_server(resource).await?,
                _ => self.apply(resource).await?,
            }
        }
        Ok(())
    }

    /// Volumes outlive their StatefulSet, so they say what has opened them. An image that has not run is not recorded: it
    /// may be a mistake that somebody is about to correct.
    async fn annotate_claims(&mut self) -> Result<()> {
        let identity = self.blueprint.identity;
        for server in self.blueprint.images.keys() {
            let mut annotations: BTreeMap<_, _> =
                KEEP_ANNOTATIONS.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            let image = versions::running(identity, self.cluster, server);
            annotations.extend(image.map(|image| (IMAGE_ANNOTATION.to_owned(), image.to_owned())));
            for claim in self.cluster.claims_of(server) {
                self.applier.annotate_claim(identity, claim, &annotations).await?;
            }
        }
        Ok(())
    }

    /// The server whose rollout a change to `set` waits for, so that one at a time is away. A set that is itself not ready
    /// does not wait: the change may be what mends it.
    fn awaited_server(&self, set: &Resource) -> Option<String> {
        let live = self.cluster.get(Kind::StatefulSet, &set.name)?;
        let starts = live["spec"]["replicas"] == 0;
        if self.report.stopped || starts || is_current(self.cluster, set) || progress(self.cluster, set).is_some() {
            return None;
        }
        let mut others =
            self.plan.servers.iter().filter(|other| other.kind == Kind::StatefulSet && other.name != set.name);
        let rolling = others
            .find(|other| self.cluster.get(Kind::StatefulSet, &other.name).is_some_and(|live| !is_complete(live)))?;
        Some(progress(self.cluster, rolling).unwrap_or_else(|| format!("{} is being updated", rolling.name)))
    }

    async fn apply_server(&mut self, set: &Resource) -> Result<()> {
        if let Some(awaited) = self.awaited_server(set) {
            self.report.pending.push(format!("{} is updated afterwards: {awaited}", set.name));
            return Ok(());
        }
        let set = &self.grown(set);
        if self.expand_volumes(set).await? {
            return self.apply(set).await;
        }
        // Volumes that cannot grow keep nothing else from being changed.
        let live = self.cluster.get(Kind::StatefulSet, &set.name);
        let size = live.and_then(|live| live.pointer(TEMPLATE_SIZE)).cloned();
        match size {
            Some(size) => self.apply(&set.with(TEMPLATE_SIZE, size)).await,
            None => self.apply(set).await,
        }
    }

    /// RabbitMQ grows by one node at a time: nodes that join at once may miss each other and form clusters of their own.
    fn grown(&self, set: &Resource) -> Resource {
        let replicas = |set: &Value| set["spec"]["replicas"].as_i64().unwrap_or(1);
        let live = self.cluster.get(Kind::StatefulSet, &set.name);
        let Some(live) = live.filter(|_| set.name == self.blueprint.identity.resource_name("rabbitmq")) else {
            return set.clone();
        };
        let (from, to) = (replicas(live), replicas(&set.object));
        if from == 0 || to <= from {
            return set.clone();
        }
        let ready = is_complete(live) && live["status"]["readyReplicas"].as_i64() == Some(from);
        set.with("/spec/replicas", (if ready { from + 1 } else { from }).into())
    }

    /// Whether the volumes have the desired size, or are being expanded to it.
    async fn expand_volumes(&mut self, set: &Resource) -> Result<bool> {
        match self.applier.expand_claims(self.blueprint.identity, set, &self.cluster.claims).await {
            Ok(false) => {}
            Ok(true) => self.report.pending.push(format!("{}: its volumes are being expanded", set.name)),
            Err(error @ Error::Refused { .. }) => {
                self.report.degrade(&error);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// A StatefulSet never replaces a pod that is stuck on the way to an older revision.
    pub(super) async fn delete_stuck_pods(&mut self) -> Result<()> {
        let identity = self.blueprint.identity;
        let stuck: Vec<Value> = ["postgres", "mongodb", "rabbitmq"]
            .iter()
            .filter_map(|server| self.cluster.get(Kind::StatefulSet, &identity.resource_name(server)))
            .flat_map(|set| self.cluster.pods.iter().filter(|pod| is_stuck(set, pod)).cloned())
            .collect();
        for pod in &stuck {
            self.applier.delete_pod(identity, pod).await?;
            self.report.pending.push(format!(
                "pod {} was stuck in an old revision and is recreated",
                pod["metadata"]["name"].as_str().unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Creates what is missing on the servers. Returns the servers that are not ready, and what was found on the others.
    pub(super) async fn prepare_servers(&mut self) -> (Failures, Prepared) {
        let (mut failures, mut prepared) = (Failures::new(), Prepared::default());
        if self.report.stopped {
            self.report.dependencies_ready = Verdict::no("Stopped", "management is Stopped");
            return (failures, prepared);
        }
        let Targets { postgres, mongodb, rabbitmq } = &self.plan.targets;
        let (postgres, mongodb, rabbitmq) =
            join!(self.servers.postgres(postgres), self.servers.mongodb(mongodb), self.servers.rabbitmq(rabbitmq));
        let rabbitmq = rabbitmq.map(|()| Prepared::default());
        let mut first_reason = None;
        for (server, result) in [("postgres", postgres), ("mongodb", mongodb), ("rabbitmq", rabbitmq)] {
            if let Ok(found) = &result {
                prepared.empty.extend(&found.empty);
            }
            let progress = self.stateful_set(server).and_then(|set| rollout::progress(self.cluster, set));
            let (reason, message) = match (result, progress) {
                (Ok(_), None) => continue,
                (Ok(_), Some(progress)) => ("Starting", progress),
                (Err(failure), progress) => {
                    let text = self.report.steady(failure.to_string());
                    if !matches!(failure, ServerFailure::Unreachable(_) | ServerFailure::NotReady(_)) {
                        self.report.degraded.push((failure.reason().to_owned(), text.clone()));
                    }
                    let starting = progress.is_some() && matches!(failure, ServerFailure::Unreachable(_));
                    let reason = if starting { "Starting" } else { failure.reason() };
                    (reason, progress.unwrap_or(text))
                }
            };
            first_reason.get_or_insert(reason);
            failures.insert(server, message);
        }
        let messages: Vec<String> = failures.iter().map(|(server, message)| format!("{server}: {message}")).collect();
        self.report.dependencies_ready = match first_reason {
            None => Verdict::yes("Ready", "PostgreSQL, MongoDB and RabbitMQ are ready"),
            Some(reason) => Verdict::no(reason, messages.join("; ")),
        };
        (failures, prepared)
    }

    /// The StatefulSet of a managed server.
    pub(super) fn stateful_set(&self, server: &str) -> Option<&Resource> {
        let name = self.blueprint.identity.resource_name(server);
        self.plan.servers.iter().find(|resource| resource.kind == Kind::StatefulSet && resource.name == name)
    }
}
