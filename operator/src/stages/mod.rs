//! The stages in which a plan is applied, and the gates between them.
//!
//! credentials → network policies and configuration → servers → logins on the servers → migrations → programs → ingress →
//! prune. A closed gate stops what depends on it and nothing else.

mod credentials;
mod programs;
mod servers;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    apply::{Applier, Outcome},
    blueprint::Blueprint,
    build::Plan,
    dereference::ClusterState,
    error::Result,
    resource::Resource,
    servers::Servers,
    status::Report,
};

/// Why servers are not ready, by their names.
type Failures = BTreeMap<&'static str, String>;

/// One plan on its way into the cluster.
pub struct Stages<'a> {
    pub applier: &'a Applier,
    pub servers: &'a dyn Servers,
    pub blueprint: &'a Blueprint<'a>,
    pub plan: &'a Plan,
    pub now: DateTime<Utc>,
    /// Follows every write.
    pub cluster: &'a mut ClusterState,
    pub report: &'a mut Report,
}

impl Stages<'_> {
    /// Applies as much of the plan as is possible now. The first error ends it.
    pub async fn run(mut self) -> Result<()> {
        let result = self.run_in_order().await;
        let plan = result.is_ok().then_some(self.plan);
        self.report.observe_programs(self.blueprint, self.cluster, plan);
        result
    }

    async fn run_in_order(&mut self) -> Result<()> {
        let plan = self.plan;
        self.apply_credentials().await?;
        self.report.dependencies.clone_from(&plan.dependencies);
        self.report.observe_volumes(self.cluster);
        self.apply_all(&plan.foundation).await?;
        if self.report.stopped && self.blueprint.programs_running {
            self.report.pending.push("the servers stop once the pods of the programs have ended".to_owned());
        }
        self.apply_servers().await?;
        self.delete_stuck_pods().await?;
        let (failures, prepared) = self.prepare_servers().await;
        let complete = self.apply_programs(&failures, &prepared).await?;
        for resource in &plan.exposure {
            // A new platform gets its ingress only once there is a program behind it.
            if complete || self.cluster.get(resource.kind, &resource.name).is_some() {
                self.apply(resource).await?;
            }
        }
        if complete {
            self.applier.prune(self.blueprint.identity, plan.resources(), self.cluster).await?;
        }
        Ok(())
    }

    async fn apply_all(&mut self, resources: &[Resource]) -> Result<()> {
        for resource in resources {
            self.apply(resource).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, resource: &Resource) -> Result<()> {
        match self.applier.apply(self.blueprint.identity, resource, self.cluster).await? {
            Outcome::Unchanged | Outcome::Created | Outcome::Updated => {}
            Outcome::Restored => self.report.restored.push(resource.to_string()),
            Outcome::Waiting(why) => self.report.pending.push(why),
        }
        Ok(())
    }
}
