//! The gates before each program: its migration, and RabbitMQ while it is rolled.

use std::collections::BTreeMap;

use chrono::DateTime;
use kube::api::DeleteParams;
use serde_json::Value;

use super::{Pass, pods::last_words};
use crate::{
    build::{Plan, Program},
    child::{CONFIG_HASH_ANNOTATION, Child, Kind},
    problem::Problem,
    status::{Report, Verdict},
};

/// After this long a failed migration is tried again, in seconds.
const MIGRATION_RETRY_SECONDS: i64 = 300;

/// Whether a program may go on to its new version.
enum Gate {
    Open,
    Waiting(String),
    Failed(String),
}

impl Pass<'_> {
    /// Migrates and applies each program whose gates are open. Whether all were applied.
    pub(super) async fn programs(
        &mut self,
        plan: &Plan,
        failures: &BTreeMap<&'static str, String>,
        report: &mut Report,
    ) -> Result<bool, Problem> {
        let mut waiting = Vec::new();
        let mut failed = Vec::new();
        let mut held = Vec::new();
        for (program, children) in &plan.programs {
            let gate = match plan.migration(*program) {
                Some(_) if report.stopped => Gate::Open,
                Some(job) => self.migrate(*program, job, failures, report).await?,
                None => Gate::Open,
            };
            match gate {
                Gate::Open => match self.awaited_rabbitmq(*program, children, plan) {
                    Some(why) if !report.stopped => held.push(why),
                    _ => self.apply_all(children, report).await?,
                },
                Gate::Waiting(why) => waiting.push(why),
                Gate::Failed(why) => failed.push(why),
            }
        }
        let all = waiting.is_empty() && failed.is_empty() && held.is_empty();
        report.pending.extend(held);
        if !failed.is_empty() {
            report.degraded.push(("MigrationFailed".to_owned(), failed.join("; ")));
        }
        report.schema_current = match (failed.is_empty(), waiting.is_empty()) {
            _ if report.stopped => Verdict::unknown("Stopped", "management is Stopped"),
            (false, _) => Verdict::no("MigrationFailed", failed.join("; ")),
            (true, false) => Verdict::no("Migrating", waiting.join("; ")),
            (true, true) => Verdict::yes("Current", "every schema is that of the wanted version"),
        };
        Ok(all)
    }

    /// What a program that changes waits for while RabbitMQ is rolled: the old users and rights may lack what the new
    /// version needs. A RabbitMQ that has the new ones and is down holds nobody up.
    fn awaited_rabbitmq(&self, program: Program, children: &[Child], plan: &Plan) -> Option<String> {
        let set = self.stateful_set(plan, "rabbitmq")?;
        let changes = children.iter().any(|child| child.kind == Kind::Deployment && !self.is_current(child));
        let live = self.observed.get(Kind::StatefulSet, &set.name);
        if !program.uses_rabbitmq() || !changes || live.is_some_and(|live| is_rolled(set, live)) {
            return None;
        }
        let progress = self.rollout(set).unwrap_or_else(|| format!("{} is about to be rolled", set.name));
        Some(format!("{} waits for rabbitmq: {progress}", program.name()))
    }

    async fn migrate(
        &mut self,
        program: Program,
        job: &Child,
        failures: &BTreeMap<&'static str, String>,
        report: &mut Report,
    ) -> Result<Gate, Problem> {
        let live = self.observed.get(Kind::Job, &job.name).cloned();
        let condition = |type_: &str| {
            let conditions = live.as_ref().and_then(|live| live["status"]["conditions"].as_array());
            conditions.into_iter().flatten().find(|c| c["type"] == type_ && c["status"] == "True").cloned()
        };
        if condition("Complete").is_some() {
            return Ok(Gate::Open);
        }
        if let (Some(failed), Some(live)) = (condition("Failed"), &live) {
            let since = failed["lastTransitionTime"].as_str().and_then(|t| DateTime::parse_from_rfc3339(t).ok());
            if since.is_some_and(|since| (self.now - since.to_utc()).num_seconds() > MIGRATION_RETRY_SECONDS) {
                self.applier.delete(self.identity, Kind::Job, &job.name, live, DeleteParams::background()).await?;
            }
            let why = failed["message"].as_str().unwrap_or_default();
            let mut words = self.observed.pods.iter().filter_map(|pod| last_words(pod, &job.name));
            let said = words.next().map(|said| format!(", it said: {said}")).unwrap_or_default();
            return Ok(Gate::Failed(format!(
                "the migration of {} failed, the old version goes on serving: {why}{said}; see `kubectl logs job/{}`",
                program.name(),
                job.name
            )));
        }
        let server = if program.uses_postgres() { "postgres" } else { "mongodb" };
        if live.is_none()
            && let Some(failure) = failures.get(server)
        {
            return Ok(Gate::Waiting(format!("{} waits for {server}: {failure}", program.name())));
        }
        self.apply(job, report).await?;
        Ok(Gate::Waiting(format!("{} is being migrated by job {}", program.name(), job.name)))
    }
}

/// Whether every pod of a StatefulSet has started with the wanted configuration. It may be down since.
fn is_rolled(set: &Child, live: &Value) -> bool {
    let config = |set: &Value| set["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH_ANNOTATION].clone();
    let status = &live["status"];
    let seen = status["observedGeneration"].as_i64() >= live["metadata"]["generation"].as_i64();
    // The current revision becomes the updated one once all pods of that were ready.
    let complete = status["currentRevision"] == status["updateRevision"];
    let updated = status["updatedReplicas"].as_i64().unwrap_or(0) >= live["spec"]["replicas"].as_i64().unwrap_or(1);
    config(live) == config(&set.object) && seen && complete && updated
}
