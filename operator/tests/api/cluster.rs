//! A cluster around the API server: controllers that start pods at once, servers that accept every login, and an operator
//! that can be restarted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::DateTime;
use eventplatform_operator::{
    controller::{Operator, error_policy, reconcile},
    crd::EventPlatform,
    error::Error,
    program::Program,
    resource::hash,
    servers::{MongodbTarget, PostgresTarget, Prepared, RabbitmqTarget, ServerFailure, Servers},
    settings::Settings,
};
use futures::future::BoxFuture;
use kube::{
    core::DeserializeGuard,
    runtime::{
        controller::Action,
        events::{Recorder, Reporter},
    },
};
use platform::Clock;
use serde_json::{Value, json};

use crate::server::ApiServer;

/// Servers that fail only on request.
#[derive(Default)]
pub(crate) struct FakeServers {
    failures: Mutex<BTreeMap<&'static str, ServerFailure>>,
    /// The programs whose databases somebody has emptied.
    emptied: Mutex<BTreeSet<Program>>,
}

impl FakeServers {
    fn answer(&self, server: &str) -> Result<Prepared, ServerFailure> {
        match self.failures.lock().unwrap().get(server).cloned() {
            Some(failure) => Err(failure),
            None => Ok(Prepared { empty: self.emptied.lock().unwrap().clone() }),
        }
    }
}

impl Servers for FakeServers {
    fn postgres<'a>(&'a self, _: &'a PostgresTarget) -> BoxFuture<'a, Result<Prepared, ServerFailure>> {
        Box::pin(async { self.answer("postgres") })
    }

    fn mongodb<'a>(&'a self, _: &'a MongodbTarget) -> BoxFuture<'a, Result<Prepared, ServerFailure>> {
        Box::pin(async { self.answer("mongodb") })
    }

    fn rabbitmq<'a>(&'a self, _: &'a RabbitmqTarget) -> BoxFuture<'a, Result<(), ServerFailure>> {
        Box::pin(async { self.answer("rabbitmq").map(drop) })
    }
}

/// How a test starts.
pub(crate) enum Scenario {
    /// Only the resource.
    Fresh,
    /// The resource with this spec.
    Specified(Value),
    /// A platform that is Ready.
    Ready,
    /// Somebody else's Service has a name that the platform needs.
    NameTaken,
}

/// The platform `demo` in the namespace `shop`.
pub(crate) struct Cluster {
    /// The API server.
    pub(crate) api: ApiServer,
    /// PostgreSQL, MongoDB and RabbitMQ.
    pub(crate) servers: Arc<FakeServers>,
    /// The time.
    pub(crate) clock: Clock,
    /// Whether Jobs fail.
    pub(crate) migrations_fail: bool,
    /// Whether Jobs do not end.
    pub(crate) migrations_hang: bool,
    /// A StatefulSet whose pods do not change.
    pub(crate) slow: Option<&'static str>,
    /// Images that cannot be pulled.
    pub(crate) missing_images: Vec<&'static str>,
    operator: Arc<Operator>,
}

impl Cluster {
    pub(crate) async fn given(scenario: Scenario) -> Self {
        let api = ApiServer::default();
        let servers = Arc::new(FakeServers::default());
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let operator = operator(&api, &servers, &clock);
        let mut cluster = Self {
            api,
            servers,
            clock,
            migrations_fail: false,
            migrations_hang: false,
            slow: None,
            missing_images: Vec::new(),
            operator,
        };
        let spec = if let Scenario::Specified(spec) = &scenario { spec.clone() } else { json!({}) };
        cluster.api.put(
            "eventplatforms",
            json!({
                "apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform",
                "metadata": { "name": "demo", "namespace": "shop" }, "spec": spec,
            }),
        );
        match scenario {
            Scenario::Fresh | Scenario::Specified(_) => {}
            Scenario::Ready => cluster.converge().await,
            Scenario::NameTaken => cluster.api.put(
                "services",
                json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "demo-user" }, "spec": { "a": 1 } }),
            ),
        }
        cluster.api.take_writes();
        cluster.api.take_events();
        cluster
    }

    /// Makes a server fail, or recover.
    pub(crate) fn fail(&self, server: &'static str, failure: Option<ServerFailure>) {
        let mut failures = self.servers.failures.lock().unwrap();
        match failure {
            Some(failure) => failures.insert(server, failure),
            None => failures.remove(server),
        };
    }

    /// Empties the database of a program. Its next migration fills it again.
    pub(crate) fn empty_database(&self, program: Program) {
        self.servers.emptied.lock().unwrap().insert(program);
    }

    /// Replaces the operator with one that has no memory.
    pub(crate) fn restart_operator(&mut self) {
        self.operator = operator(&self.api, &self.servers, &self.clock);
    }

    /// Tells the operator that the platform is gone.
    pub(crate) fn forget_platform(&self) {
        self.operator.forget("shop", "demo");
    }

    /// One reconcile.
    pub(crate) async fn reconcile(&self) -> Result<Action, Error> {
        let platform = Arc::new(DeserializeGuard(Ok(self.platform())));
        let result = reconcile(platform.clone(), self.operator.clone()).await;
        if let Err(error) = &result {
            error_policy(platform, error, self.operator.clone());
        }
        result
    }

    pub(crate) fn platform(&self) -> EventPlatform {
        serde_json::from_value(self.api.get("eventplatforms", "demo").unwrap()).unwrap()
    }

    pub(crate) fn specify(&self, edit: impl FnOnce(&mut Value)) {
        self.api.edit("eventplatforms", "demo", |object| edit(&mut object["spec"]));
    }

    /// Status of a condition, its reason and its message.
    pub(crate) fn condition(&self, type_: &str) -> (String, String, String) {
        let platform = self.api.get("eventplatforms", "demo").unwrap();
        let conditions = platform["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == type_).cloned().unwrap_or_default();
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// Whether the platform is Ready for its current spec.
    pub(crate) fn is_ready(&self) -> bool {
        let platform = self.platform();
        let observed = platform.status.as_ref().and_then(|status| status.observed_generation);
        self.condition("Ready").0 == "True" && observed == platform.metadata.generation
    }

    /// Reconciles and lets the controllers work until nothing changes any more.
    pub(crate) async fn converge(&mut self) {
        for _ in 0..30 {
            let before = self.api.names();
            let version = self.versions();
            self.reconcile().await.ok();
            self.settle();
            if before == self.api.names() && version == self.versions() {
                return;
            }
        }
        panic!("does not converge: {:?}", self.condition("Ready"));
    }

    fn versions(&self) -> Vec<String> {
        let plurals = [
            "deployments",
            "statefulsets",
            "persistentvolumeclaims",
            "pods",
            "jobs",
            "secrets",
            "services",
            "eventplatforms",
            "networkpolicies",
        ];
        let objects = plurals.iter().flat_map(|plural| self.api.list(plural));
        objects.map(|object| object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Does the work of the cluster's controllers.
    pub(crate) fn settle(&self) {
        for deployment in self.api.list("deployments") {
            let replicas = &deployment["spec"]["replicas"];
            let status = json!({
                "observedGeneration": deployment["metadata"]["generation"], "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
            });
            self.write_status("deployments", &deployment, status);
        }
        for set in self.api.list("statefulsets").into_iter().filter(|set| !self.is_slow(set)) {
            self.roll_out(&set);
            self.make_claim(&set);
        }
        for job in self.api.list("jobs").into_iter().filter(|_| !self.migrations_hang) {
            let type_ = if self.migrations_fail { "Failed" } else { "Complete" };
            let since = self.clock.now().to_rfc3339();
            if job["status"]["conditions"][0]["type"] != type_ {
                let component = job["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap();
                let of = |program: &Program| component == format!("{}-migrate", program.name());
                self.servers.emptied.lock().unwrap().retain(|program| !of(program));
                let condition = json!({
                    "type": type_, "status": "True", "lastTransitionTime": since,
                    "message": "Job has reached the specified backoff limit",
                });
                self.write_status("jobs", &job, json!({ "conditions": [condition] }));
            }
        }
    }

    /// Starts the pods of a StatefulSet with its latest revision. Its first pod is an object only while it cannot start: it
    /// is then not replaced, whatever the set says, until somebody deletes it.
    fn roll_out(&self, set: &Value) {
        let template = &set["spec"]["template"];
        let (revision, replicas) = (hash(template), set["spec"]["replicas"].as_i64().unwrap_or(1));
        let pod = format!("{}-0", set["metadata"]["name"].as_str().unwrap());
        let image = template["spec"]["containers"][0]["image"].as_str().unwrap();
        let stuck = self.api.get("pods", &pod).map(|pod| pod["metadata"]["labels"]["controller-revision-hash"].clone());
        let starts = match &stuck {
            _ if replicas == 0 => true,
            Some(stuck) if *stuck != *revision => false,
            _ => !self.missing_images.contains(&image),
        };
        match (&stuck, starts) {
            (None, false) => self.api.put("pods", unpullable(&pod, set, &revision, image)),
            (Some(_), true) => self.api.remove("pods", &pod),
            _ => {}
        }
        let outdated = i64::from(!starts && stuck.is_some_and(|stuck| stuck != *revision));
        let current = set["status"]["currentRevision"].as_str().filter(|_| !starts).unwrap_or(&revision);
        let status = json!({
            "observedGeneration": set["metadata"]["generation"], "replicas": replicas,
            "updatedReplicas": replicas - outdated, "readyReplicas": replicas - i64::from(!starts),
            "currentRevision": current, "updateRevision": revision,
        });
        self.write_status("statefulsets", set, status);
    }

    fn is_slow(&self, object: &Value) -> bool {
        self.slow.is_some_and(|slow| object["kind"] == "StatefulSet" && object["metadata"]["name"] == slow)
    }

    fn write_status(&self, plural: &str, object: &Value, status: Value) {
        if object["status"] != status {
            self.api.edit(plural, object["metadata"]["name"].as_str().unwrap(), |object| object["status"] = status);
        }
    }

    fn make_claim(&self, set: &Value) {
        let name = format!("data-{}-0", set["metadata"]["name"].as_str().unwrap());
        if self.api.get("persistentvolumeclaims", &name).is_none() {
            let mut claim = set["spec"]["volumeClaimTemplates"][0].clone();
            claim["metadata"]["name"] = json!(name);
            self.api.put("persistentvolumeclaims", claim);
        }
    }

    /// Deletes the resource and, like the garbage collector, everything that it owns.
    pub(crate) fn delete_platform(&self) {
        let uid = self.platform().metadata.uid.unwrap();
        self.api.remove("eventplatforms", "demo");
        for plural_and_name in self.api.names() {
            let (plural, name) = plural_and_name.split_once('/').unwrap();
            let object = self.api.get(plural, name).unwrap();
            if object["metadata"]["ownerReferences"][0]["uid"] == uid {
                self.api.remove(plural, name);
            }
        }
    }
}

/// A pod whose image cannot be pulled.
fn unpullable(name: &str, set: &Value, revision: &str, image: &str) -> Value {
    let mut labels = set["spec"]["template"]["metadata"]["labels"].clone();
    labels["controller-revision-hash"] = json!(revision);
    let waiting = json!({ "reason": "ImagePullBackOff", "message": format!("Back-off pulling image {image:?}") });
    let owner = json!({ "kind": "StatefulSet", "name": set["metadata"]["name"], "uid": set["metadata"]["uid"] });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": labels, "ownerReferences": [owner] },
        "status": { "phase": "Pending", "containerStatuses": [{ "state": { "waiting": waiting } }] },
    })
}

fn operator(api: &ApiServer, servers: &Arc<FakeServers>, clock: &Clock) -> Arc<Operator> {
    let settings = Settings { resync_seconds: 20, ..Settings::default() };
    let reporter = Reporter { controller: "eventplatform-operator".into(), instance: None };
    let recorder = Recorder::new(api.client(), reporter);
    Arc::new(Operator::new(api.client(), servers.clone(), settings, clock.clone(), Some(recorder)))
}

/// The pause that a reconcile asks for.
pub(crate) fn pause(seconds: u64) -> Action {
    Action::requeue(Duration::from_secs(seconds))
}
