//! PostgreSQL, MongoDB and RabbitMQ: their StatefulSets and volumes, and the logins on them.

use futures::join;
use serde_json::Value;

use super::{Failures, Stages};
use crate::{
    error::{Error, Result},
    resource::{Kind, Resource},
    rollout::{self, is_stuck},
    servers::{ServerFailure, Targets},
    status::Verdict,
};

impl Stages<'_> {
    pub(super) async fn apply_servers(&mut self) -> Result<()> {
        let plan = self.plan;
        for resource in &plan.servers {
            if resource.kind != Kind::StatefulSet || self.expand_volumes(resource).await? {
                self.apply(resource).await?;
            }
        }
        Ok(())
    }

    /// Whether the StatefulSet may be applied. If its volumes cannot grow, it stays as it is, too.
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

    /// Creates what is missing on the servers. Returns the servers that are not ready.
    pub(super) async fn prepare_servers(&mut self) -> Failures {
        let mut failures = Failures::new();
        if self.report.stopped {
            self.report.dependencies_ready = Verdict::no("Stopped", "management is Stopped");
            return failures;
        }
        let Targets { postgres, mongodb, rabbitmq } = &self.plan.targets;
        let (postgres, mongodb, rabbitmq) =
            join!(self.servers.postgres(postgres), self.servers.mongodb(mongodb), self.servers.rabbitmq(rabbitmq));
        let mut first_reason = None;
        for (server, result) in [("postgres", postgres), ("mongodb", mongodb), ("rabbitmq", rabbitmq)] {
            let progress = self.stateful_set(server).and_then(|set| rollout::progress(self.cluster, set));
            let (reason, message) = match (result, progress) {
                (Ok(()), None) => continue,
                (Ok(()), Some(progress)) => ("Starting", progress),
                (Err(failure), progress) => {
                    if matches!(failure, ServerFailure::AuthFailed(_) | ServerFailure::Refused(_)) {
                        self.report.degraded.push((failure.reason().to_owned(), failure.to_string()));
                    }
                    let starting = progress.is_some() && matches!(failure, ServerFailure::Unreachable(_));
                    let reason = if starting { "Starting" } else { failure.reason() };
                    (reason, progress.unwrap_or_else(|| failure.to_string()))
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
        failures
    }

    /// The StatefulSet of a managed server.
    pub(super) fn stateful_set(&self, server: &str) -> Option<&Resource> {
        let name = self.blueprint.identity.resource_name(server);
        self.plan.servers.iter().find(|resource| resource.kind == Kind::StatefulSet && resource.name == name)
    }
}
