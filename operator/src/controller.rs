//! One reconcile: dereference → validate → build → apply → status. And what follows when it fails.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        controller::Action,
        events::{Event, EventType, Recorder},
    },
};
use platform::Clock;
use rand::RngExt;
use serde_json::json;

use crate::{
    advance::Pass,
    apply::Applier,
    child::{FIELD_MANAGER, Identity},
    crd::{EventPlatform, EventPlatformStatus},
    observe::{self, Observed},
    problem::Problem,
    servers::Servers,
    settings::Settings,
    status::{Report, transitions},
};

/// How soon a platform that is on its way is looked at again; its objects announce their changes, its servers do not.
const ON_ITS_WAY: Duration = Duration::from_secs(3);
/// The longest pause between attempts after errors.
const LONGEST_PAUSE_SECONDS: f64 = 60.0;

/// What every reconcile needs.
pub struct Operator {
    applier: Applier,
    servers: Arc<dyn Servers>,
    settings: Settings,
    clock: Clock,
    recorder: Option<Recorder>,
    /// Failures in a row, by namespace and name.
    failures: Mutex<HashMap<String, u32>>,
}

impl Operator {
    /// An operator that writes by way of `client`. Without a recorder it publishes no events.
    pub fn new(
        client: Client,
        servers: Arc<dyn Servers>,
        settings: Settings,
        clock: Clock,
        recorder: Option<Recorder>,
    ) -> Self {
        Self { applier: Applier::new(client), servers, settings, clock, recorder, failures: Mutex::default() }
    }

    async fn pass(&self, platform: &EventPlatform, report: &mut Report) -> (Result<(), Problem>, Vec<String>) {
        let Some(identity) = identity(platform) else { return (Ok(()), Vec::new()) };
        let observed = match observe::observe(self.applier.client(), &identity, &platform.spec).await {
            Ok(observed) => observed,
            Err(problem) => return (Err(problem), Vec::new()),
        };
        let mut pass = self.start(&identity, platform, observed);
        let result = pass.advance(report).await;
        (result, pass.restored)
    }

    fn start<'a>(&'a self, identity: &'a Identity, platform: &'a EventPlatform, observed: Observed) -> Pass<'a> {
        Pass {
            applier: &self.applier,
            servers: self.servers.as_ref(),
            settings: &self.settings,
            identity,
            spec: &platform.spec,
            now: self.clock.now(),
            observed,
            restored: Vec::new(),
        }
    }

    /// Writes the status if it differs, and an event for every condition that went over.
    async fn publish(&self, platform: &EventPlatform, report: &Report) -> Result<(), Problem> {
        let previous = platform.status.as_ref();
        let next = report.status(previous, self.clock.now());
        if previous == Some(&next) {
            return Ok(());
        }
        let namespace = platform.namespace().unwrap_or_default();
        let api: Api<EventPlatform> = Api::namespaced(self.applier.client().clone(), &namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "status": next }));
        match api.patch_status(&platform.name_any(), &params, &patch).await {
            // Deleted in the meantime.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            answer => answer.map_err(|error| Problem::from_api("the status", error))?,
        };
        self.announce(platform, previous, &next).await;
        Ok(())
    }

    async fn announce(
        &self,
        platform: &EventPlatform,
        previous: Option<&EventPlatformStatus>,
        next: &EventPlatformStatus,
    ) {
        for condition in transitions(previous, next) {
            let good = (condition.type_ == "Degraded") != (condition.status == crate::crd::ConditionStatus::True);
            let type_ = if good { EventType::Normal } else { EventType::Warning };
            let note = format!("{} is {:?}: {}", condition.type_, condition.status, condition.message);
            self.event(platform, type_, &condition.reason, note, None).await;
        }
    }

    /// Tells of a platform, and of a child of it by kind and name: for six minutes, a second event of the same reason
    /// about the same objects only counts the first one up, and its note is lost.
    async fn event(&self, platform: &EventPlatform, type_: EventType, reason: &str, note: String, child: Option<&str>) {
        let Some(recorder) = &self.recorder else { return };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(1000).collect()),
            action: "Reconcile".to_owned(),
            secondary: child.and_then(|child| child.split_once(' ')).map(|(kind, name)| ObjectReference {
                kind: Some(kind.to_owned()),
                name: Some(name.to_owned()),
                namespace: platform.namespace(),
                ..ObjectReference::default()
            }),
        };
        if let Err(error) = recorder.publish(&event, &platform.object_ref(&())).await {
            tracing::warn!(%error, "an event could not be published");
        }
    }

    fn key(platform: &EventPlatform) -> String {
        format!("{}/{}", platform.namespace().unwrap_or_default(), platform.name_any())
    }
}

/// Who a platform is; nothing before the API server has named it.
pub fn identity(platform: &EventPlatform) -> Option<Identity> {
    Some(Identity { name: platform.name_any(), namespace: platform.namespace()?, uid: platform.uid()? })
}

/// Brings one platform as far as it can be brought now.
pub async fn reconcile(platform: Arc<EventPlatform>, operator: Arc<Operator>) -> Result<Action, Problem> {
    if platform.metadata.deletion_timestamp.is_some() {
        // The garbage collector does the rest.
        return Ok(Action::await_change());
    }
    let begun = Instant::now();
    let mut report = Report::new(platform.metadata.generation, platform.status.as_ref());
    let limit = operator.settings.reconcile_timeout_seconds;
    let bounded = tokio::time::timeout(Duration::from_secs(limit), operator.pass(&platform, &mut report)).await;
    let (result, restored) = bounded.unwrap_or_else(|_| (Err(Problem::TimedOut(limit)), Vec::new()));
    for object in restored {
        tracing::info!(platform = Operator::key(&platform), object, "set right what was changed");
        let note = format!("{object} had been changed or deleted and was set right");
        operator.event(&platform, EventType::Normal, "Restored", note, Some(&object)).await;
    }
    let outcome = result.as_ref().err().map_or("ok", Problem::reason);
    metrics::counter!("eventplatform_reconciles_total", "outcome" => outcome).increment(1);
    metrics::histogram!("eventplatform_reconcile_duration_seconds").record(begun.elapsed().as_secs_f64());
    if let Err(problem) = &result
        && !problem.is_transient()
    {
        report.note(problem);
    }
    // What passes by itself says nothing of the platform; the next attempt does.
    if !result.as_ref().is_err_and(Problem::is_transient) {
        operator.publish(&platform, &report).await?;
    }
    let resync = Duration::from_secs(operator.settings.resync_seconds);
    match result {
        Err(problem) if !problem.waits_for_change() => Err(problem),
        Err(problem) => {
            tracing::warn!(platform = Operator::key(&platform), reason = problem.reason(), %problem, "waiting for a change");
            operator.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&Operator::key(&platform));
            Ok(Action::requeue(resync))
        }
        Ok(()) => {
            operator.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&Operator::key(&platform));
            let settled = report.is_ready() || report.paused;
            Ok(Action::requeue(if settled { resync } else { ON_ITS_WAY.min(resync) }))
        }
    }
}

/// When to try again: at once after a conflict, otherwise after a pause that grows and differs between platforms.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub fn error_policy(platform: Arc<EventPlatform>, problem: &Problem, operator: Arc<Operator>) -> Action {
    let key = Operator::key(&platform);
    let mut failures = operator.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let in_a_row = failures.entry(key.clone()).or_default();
    *in_a_row += 1;
    let pause = match problem {
        Problem::Conflict(_) if *in_a_row <= 3 => Duration::from_millis(50),
        _ => backoff(*in_a_row, rand::rng().random_range(0.5..1.0)),
    };
    tracing::warn!(platform = key, reason = problem.reason(), %problem, in_a_row = *in_a_row, "reconcile failed");
    Action::requeue(pause)
}

/// 1, 2, 4 … 60 s, times `jitter`.
fn backoff(in_a_row: u32, jitter: f64) -> Duration {
    let exponent = i32::try_from(in_a_row.saturating_sub(1).min(10)).unwrap_or(10);
    Duration::from_secs_f64(2_f64.powi(exponent).min(LONGEST_PAUSE_SECONDS) * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_minute() {
        assert_eq!(backoff(1, 1.0), Duration::from_secs(1));
        assert_eq!(backoff(4, 0.5), Duration::from_secs(4));
        assert_eq!(backoff(1000, 1.0), Duration::from_secs(60));
    }
}
