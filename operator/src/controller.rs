//! One reconcile: dereference → validate → build → apply → status. And what follows when it fails.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource as _, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{
        controller::Action,
        events::{Event, EventType, Recorder},
    },
};
use platform::{Clock, retry::Backoff};
use rand::RngExt;
use serde_json::json;

use crate::{
    apply::Applier,
    blueprint::Blueprint,
    build::{Plan, build},
    crd::{ConditionStatus, EventPlatform, EventPlatformStatus},
    dereference::{ClusterState, dereference},
    error::{Error, Result},
    resource::{FIELD_MANAGER, Identity},
    servers::Servers,
    settings::Settings,
    stages::Stages,
    status::{Report, transitions},
    validate::validate,
    versions,
};

/// The pause before the next look at a platform that is not ready. Its objects are watched, but its servers are not.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
/// After this many failures in a row, about half a minute, the status names one that ends by itself as a rule.
const PERSISTENT_FAILURES: u32 = 5;
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// A platform as it is watched: one that cannot be decoded does not stop the others.
pub type GuardedPlatform = DeserializeGuard<EventPlatform>;

/// What every reconcile needs.
pub struct Operator {
    applier: Applier,
    servers: Arc<dyn Servers>,
    settings: Settings,
    clock: Clock,
    recorder: Option<Recorder>,
    /// Consecutive failures, by namespace and name.
    failures: Mutex<HashMap<String, u32>>,
}

/// Brings one platform closer to its spec.
pub async fn reconcile(guarded: Arc<GuardedPlatform>, operator: Arc<Operator>) -> Result<Action> {
    let platform = match &guarded.0 {
        Ok(platform) => platform,
        Err(invalid) => {
            observe_undecodable(&guarded, &invalid.error);
            return Ok(Action::await_change());
        }
    };
    let Some(identity) = identity(platform).filter(|_| platform.metadata.deletion_timestamp.is_none()) else {
        operator.forget(&platform.namespace().unwrap_or_default(), &platform.name_any());
        // The garbage collector deletes what a platform owns.
        return Ok(Action::await_change());
    };
    let started = Instant::now();
    let mut report = Report::new(platform.metadata.generation, platform.status.as_ref());
    let work = async {
        let mut cluster = dereference(operator.client(), &identity, &platform.spec).await?;
        let images = versions::images(&identity, &platform.spec, &operator.settings, &cluster);
        let blueprint = Blueprint::new(&identity, &platform.spec, &operator.settings, &images, &cluster);
        let Some(validated) = validate(&blueprint, &cluster, &mut report)? else { return Ok(()) };
        let plan = build(&validated, &mut rand::rng());
        operator.apply(&validated.blueprint, &plan, &mut cluster, &mut report).await
    };
    let limit = operator.settings.reconcile_timeout_seconds;
    let result = tokio::time::timeout(Duration::from_secs(limit), work).await;
    let result = result.unwrap_or(Err(Error::TimedOut(limit)));
    observe(&result, started.elapsed());
    operator.update_status(platform, &mut report, &result).await?;
    operator.next_action(platform, &report, result)
}

/// When to try again after an error: at once after a conflict, otherwise after a growing pause with jitter.
#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
pub fn error_policy(guarded: Arc<GuardedPlatform>, error: &Error, operator: Arc<Operator>) -> Action {
    let key = key(guarded.as_ref());
    let mut failures = operator.failures();
    let consecutive = failures.entry(key.clone()).or_default();
    *consecutive += 1;
    let pause = match error {
        Error::Conflict(_) if *consecutive <= 3 => Duration::from_millis(50),
        _ => BACKOFF.after(*consecutive).mul_f64(rand::rng().random_range(0.5..1.0)),
    };
    tracing::warn!(platform = key, reason = error.reason(), problem = %error, in_a_row = *consecutive, "reconcile failed");
    Action::requeue(pause)
}

/// `None` before the API server has named the platform.
pub fn identity(platform: &EventPlatform) -> Option<Identity> {
    Some(Identity { name: platform.name_any(), namespace: platform.namespace()?, uid: platform.uid()? })
}

fn key(platform: &impl ResourceExt) -> String {
    key_of(&platform.namespace().unwrap_or_default(), &platform.name_any())
}

fn key_of(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn observe(result: &Result<()>, duration: Duration) {
    let outcome = result.as_ref().err().map_or("ok", Error::reason);
    metrics::counter!("eventplatform_reconciles_total", "outcome" => outcome).increment(1);
    metrics::histogram!("eventplatform_reconcile_duration_seconds").record(duration.as_secs_f64());
}

fn observe_undecodable(platform: &GuardedPlatform, error: &str) {
    tracing::error!(platform = key(platform), error, "the EventPlatform cannot be decoded; waiting for a change");
    metrics::counter!("eventplatform_reconciles_total", "outcome" => "Undecodable").increment(1);
}

impl Operator {
    /// Without a recorder, the operator publishes no events.
    pub fn new(
        client: Client,
        servers: Arc<dyn Servers>,
        settings: Settings,
        clock: Clock,
        recorder: Option<Recorder>,
    ) -> Self {
        Self { applier: Applier::new(client), servers, settings, clock, recorder, failures: Mutex::default() }
    }

    /// Forgets a platform that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.failures().remove(&key_of(namespace, name));
        self.applier.forget(namespace, name);
    }

    fn client(&self) -> &Client {
        self.applier.client()
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the latest attempts have all failed.
    fn persists(&self, platform: &EventPlatform) -> bool {
        self.failures().get(&key(platform)).is_some_and(|in_a_row| *in_a_row >= PERSISTENT_FAILURES)
    }

    /// Applies as much of a plan as is possible now.
    async fn apply(
        &self,
        blueprint: &Blueprint<'_>,
        plan: &Plan,
        cluster: &mut ClusterState,
        report: &mut Report,
    ) -> Result<()> {
        let (applier, servers, now) = (&self.applier, self.servers.as_ref(), self.clock.now());
        Stages { applier, servers, blueprint, plan, now, cluster, report }.run().await
    }

    /// Writes the status if it differs, and publishes the events of this reconcile.
    async fn update_status(&self, platform: &EventPlatform, report: &mut Report, result: &Result<()>) -> Result<()> {
        for object in &report.restored {
            tracing::info!(platform = key(platform), object, "restored what somebody else had changed");
            let note = format!("{object} had been changed or deleted and was restored");
            self.publish(platform, EventType::Normal, "Restored", note, Some(object)).await;
        }
        match result {
            // It says nothing about the platform. The next attempt does, unless it stays.
            Err(error) if error.is_transient() && !self.persists(platform) => return Ok(()),
            Err(error) => report.degrade(error),
            Ok(()) => {}
        }
        let previous = platform.status.as_ref();
        let next = report.status(previous, self.clock.now());
        if previous == Some(&next) {
            return Ok(());
        }
        let namespace = platform.namespace().unwrap_or_default();
        let api: Api<EventPlatform> = Api::namespaced(self.client().clone(), &namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "status": next }));
        match api.patch_status(&platform.name_any(), &params, &patch).await {
            // Deleted in the meantime.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            answer => answer.map_err(|error| Error::from_api("the status", error))?,
        };
        self.publish_transitions(platform, previous, &next).await;
        Ok(())
    }

    fn next_action(&self, platform: &EventPlatform, report: &Report, result: Result<()>) -> Result<Action> {
        let resync = Duration::from_secs(self.settings.resync_seconds);
        let pause = match result {
            Err(error) if !error.waits_for_change() => return Err(error),
            Err(error) => {
                tracing::warn!(platform = key(platform), reason = error.reason(), problem = %error, "waiting for a change");
                resync
            }
            Ok(()) if report.is_ready() || report.paused || report.is_at_rest() => resync,
            Ok(()) => PROGRESS_INTERVAL.min(resync),
        };
        self.failures().remove(&key(platform));
        Ok(Action::requeue(pause))
    }

    async fn publish_transitions(
        &self,
        platform: &EventPlatform,
        previous: Option<&EventPlatformStatus>,
        next: &EventPlatformStatus,
    ) {
        for condition in transitions(previous, next) {
            let good = (condition.type_ == "Degraded") != (condition.status == ConditionStatus::True);
            let type_ = if good { EventType::Normal } else { EventType::Warning };
            let note = format!("{} is {:?}: {}", condition.type_, condition.status, condition.message);
            self.publish(platform, type_, &condition.reason, note, None).await;
        }
    }

    /// Publishes an event about a platform, and about an object of it by kind and name. For six minutes, a second event of
    /// the same reason about the same objects only increments the count of the first one, and its note is lost.
    async fn publish(
        &self,
        platform: &EventPlatform,
        type_: EventType,
        reason: &str,
        note: String,
        object: Option<&str>,
    ) {
        let Some(recorder) = &self.recorder else { return };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(1000).collect()),
            action: "Reconcile".to_owned(),
            secondary: object.and_then(|object| object.split_once(' ')).map(|(kind, name)| ObjectReference {
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
}
