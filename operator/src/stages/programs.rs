//! The programs, each behind its gates: its migration, and RabbitMQ during a rolling update.
//!
//! RabbitMQ imports its users and permissions when it boots, so changed programs wait until it has booted with them.

use chrono::DateTime;
use kube::api::DeleteParams;
use serde_json::Value;

use super::{Failures, Stages};
use crate::{
    error::Result,
    program::Program,
    resource::{Kind, Resource},
    rollout::{failure_log, is_current, is_rolled, job_failure, progress},
    servers::Prepared,
    status::Verdict,
};

/// A failed migration is retried after this time.
const MIGRATION_RETRY_SECONDS: i64 = 300;

/// Whether a program may be updated.
enum Gate {
    Open,
    Waiting(String),
    Failed(String),
}

impl Stages<'_> {
    /// Migrates and applies each program whose gates are open. Returns whether all were applied.
    pub(super) async fn apply_programs(&mut self, failures: &Failures, prepared: &Prepared) -> Result<bool> {
        let plan = self.plan;
        let stopped = self.report.stopped;
        let mut waiting = Vec::new();
        let mut failed = Vec::new();
        let mut held = Vec::new();
        for (program, resources) in &plan.programs {
            let gate = match plan.migration(*program) {
                Some(job) if !stopped => self.migrate(*program, job, failures, prepared).await?,
                _ => Gate::Open,
            };
            match gate {
                Gate::Open => match self.awaited_rabbitmq(*program, resources) {
                    Some(why) if !stopped => held.push(why),
                    _ => self.apply_all(resources).await?,
                },
                Gate::Waiting(why) => waiting.push(why),
                Gate::Failed(why) => failed.push(why),
            }
        }
        let complete = waiting.is_empty() && failed.is_empty() && held.is_empty();
        self.report.pending.extend(held);
        if !failed.is_empty() {
            self.report.degraded.push(("MigrationFailed".to_owned(), failed.join("; ")));
        }
        self.report.schema_current = match (failed.is_empty(), waiting.is_empty()) {
            _ if stopped => Verdict::unknown("Stopped", "management is Stopped"),
            (false, _) => Verdict::no("MigrationFailed", failed.join("; ")),
            (true, false) => Verdict::no("Migrating", waiting.join("; ")),
            (true, true) => Verdict::yes("Current", "every schema is that of the desired version"),
        };
        Ok(complete)
    }

    /// Why a changed program waits for a rolling update of RabbitMQ: the old users and permissions may lack what the new
    /// version needs. A RabbitMQ that has the new ones but is down does not block anything.
    fn awaited_rabbitmq(&self, program: Program, resources: &[Resource]) -> Option<String> {
        let set = self.stateful_set("rabbitmq")?;
        let changes =
            resources.iter().any(|resource| resource.kind == Kind::Deployment && !is_current(self.cluster, resource));
        let live = self.cluster.get(Kind::StatefulSet, &set.name);
        let nodes = set.object["spec"]["replicas"].as_i64().unwrap_or(1);
        let is_new =
            self.cluster.get(Kind::Deployment, &self.blueprint.identity.resource_name(program.name())).is_none();
        // A queue that is declared while nodes are away has members on the others only.
        if program.uses_rabbitmq()
            && is_new
            && nodes > 1
            && let Some(progress) = progress(self.cluster, set)
        {
            return Some(format!("{} waits for every node of rabbitmq: {progress}", program.name()));
        }
        if !program.uses_rabbitmq() || !changes || live.is_some_and(|live| is_rolled(set, live)) {
            return None;
        }
        let progress = progress(self.cluster, set).unwrap_or_else(|| format!("{} is about to be updated", set.name));
        Some(format!("{} waits for rabbitmq: {progress}", program.name()))
    }

    async fn migrate(
        &mut self,
        program: Program,
        job: &Resource,
        failures: &Failures,
        prepared: &Prepared,
    ) -> Result<Gate> {
        let live = self.cluster.get(Kind::Job, &job.name).cloned();
        if let Some(live) = &live {
            if condition(live, "Complete").is_some() {
                return self.check_database(program, job, live, prepared).await;
            }
            if let Some(failed) = condition(live, "Failed") {
                return self.failed_migration(program, job, live, failed).await;
            }
        }
        let server = if program.uses_postgres() { "postgres" } else { "mongodb" };
        if live.is_none()
            && let Some(failure) = failures.get(server)
        {
            return Ok(Gate::Waiting(format!("{} waits for {server}: {failure}", program.name())));
        }
        self.apply(job).await?;
        let why = live.and_then(|live| job_failure(self.cluster, &live));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Ok(Gate::Waiting(format!("{} is being migrated by job {}{why}", program.name(), job.name)))
    }

    /// Whether a migrated database still has its schema. Deletes the Job if not, so that it is migrated again.
    async fn check_database(
        &mut self,
        program: Program,
        job: &Resource,
        live: &Value,
        prepared: &Prepared,
    ) -> Result<Gate> {
        if !prepared.empty.contains(&program) {
            return Ok(Gate::Open);
        }
        let identity = self.blueprint.identity;
        self.applier.delete(identity, Kind::Job, &job.name, live, DeleteParams::background()).await?;
        self.cluster.remove(Kind::Job, &job.name);
        Ok(Gate::Waiting(format!(
            "the database of {} has been emptied: it has lost its data, and is migrated again",
            program.name()
        )))
    }

    /// Says why a migration failed. Deletes its Job when it is time to retry.
    async fn failed_migration(
        &mut self,
        program: Program,
        job: &Resource,
        live: &Value,
        failed: &Value,
    ) -> Result<Gate> {
        let since = failed["lastTransitionTime"].as_str().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
        if since.is_some_and(|since| (self.now - since.to_utc()).num_seconds() > MIGRATION_RETRY_SECONDS) {
            let identity = self.blueprint.identity;
            self.applier.delete(identity, Kind::Job, &job.name, live, DeleteParams::background()).await?;
        }
        let why = failed["message"].as_str().unwrap_or_default();
        let mut logs = self.cluster.pods.iter().filter_map(|pod| failure_log(pod, &job.name));
        let log = logs.next().map(|log| format!(", log: {log}")).unwrap_or_default();
        Ok(Gate::Failed(format!(
            "the migration of {} failed, the old version keeps serving: {why}{log}; see `kubectl logs job/{}`",
            program.name(),
            job.name
        )))
    }
}

/// A condition of a Job that is true.
fn condition<'a>(job: &'a Value, type_: &str) -> Option<&'a Value> {
    let mut conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == type_ && condition["status"] == "True")
}
