//! Writes. Server-side apply with one field manager, forced only over what is ours, and only when it changes something.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    child::{Child, FIELD_MANAGER, HASH_ANNOTATION, Identity, Kind, Ownership},
    credentials::{SecretData, encode_data},
    drift::{covers, fingerprint},
    observe::{self, Observed, api, to_value},
    problem::Problem,
    quantity,
};

/// The field manager that holds `replicas` between the operator and an autoscaler.
const REPLICAS_MANAGER: &str = "eventplatform-operator-replicas";

/// The field manager of the data of made-up credentials.
const CREDENTIALS_MANAGER: &str = "eventplatform-operator-credentials";

/// What became of a child.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was as it should be; nothing was written.
    Unchanged,
    /// It was made.
    Created,
    /// It was brought to what the spec now says.
    Updated,
    /// Somebody had changed or deleted it; it was set right.
    Restored,
    /// It cannot be written yet, and why.
    Waiting(String),
}

/// Writes objects, and remembers what the API server made of them.
pub struct Applier {
    client: Client,
    /// What children were like when they were as wanted.
    memory: Mutex<HashMap<Place, Memory>>,
}

/// Where a child is found: the uid of its platform, its kind and its name.
type Place = (String, Kind, String);

/// The hash of what was applied, and the fingerprint of the answer. When both are the same again, applying again would
/// change nothing, whatever the API server wrote differently from what it was told.
#[derive(Eq, PartialEq)]
struct Memory {
    hash: String,
    fingerprint: String,
}

impl Applier {
    /// Writes by way of `client`.
    pub fn new(client: Client) -> Self {
        Self { client, memory: Mutex::default() }
    }

    /// The connection to the API server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Brings a child to what is wanted of it.
    pub async fn apply(&self, identity: &Identity, child: &Child, observed: &mut Observed) -> Result<Outcome, Problem> {
        let live = match observed.get(child.kind, &child.name) {
            Some(live) => Some(live.clone()),
            // Not among what has our labels; it may still exist.
            None => observe::get(&self.client, identity, child.kind, &child.name).await?,
        };
        let Some(live) = live else {
            let was_there = self.memory().contains_key(&place(identity, child));
            // Not forced: whoever made it in this very moment keeps it.
            self.patch(identity, child, false, observed).await?;
            return Ok(if was_there { Outcome::Restored } else { Outcome::Created });
        };
        if let Some(outcome) = obstacle(identity, child, &live)? {
            return Ok(outcome);
        }
        let seen = Memory::of(child, &live);
        if covers(&live, &child.object) || self.memory().get(&place(identity, child)) == Some(&seen) {
            self.memory().insert(place(identity, child), seen);
            return Ok(Outcome::Unchanged);
        }
        if child.kind == Kind::StatefulSet && needs_recreation(&live, &child.object) {
            // Its pods and volumes stay and are taken up by its successor.
            self.delete(identity, child.kind, &child.name, &live, DeleteParams::orphan()).await?;
            observed.remove(child.kind, &child.name);
            return Ok(Outcome::Waiting(format!("StatefulSet {} is made anew around its pods", child.name)));
        }
        if child.kind == Kind::Deployment && child.object["spec"].get("replicas").is_none() {
            self.hand_over_replicas(identity, child, &live).await?;
        }
        let wanted = |object: &Value| object["metadata"]["annotations"][HASH_ANNOTATION].clone();
        let restored = wanted(&live) == wanted(&child.object);
        self.patch(identity, child, true, observed).await?;
        Ok(if restored { Outcome::Restored } else { Outcome::Updated })
    }

    async fn patch(
        &self,
        identity: &Identity,
        child: &Child,
        force: bool,
        observed: &mut Observed,
    ) -> Result<(), Problem> {
        let mut params = PatchParams::apply(FIELD_MANAGER);
        params.force = force;
        let api = api(&self.client, identity, &child.kind.resource());
        let object = format!("{} {}", child.kind.name(), child.name);
        let answer = api.patch(&child.name, &params, &Patch::Apply(&child.object)).await;
        let answer = to_value(&answer.map_err(|error| match error {
            // Whatever is absent is made, unless nobody knows what it is.
            kube::Error::Api(status) if status.code == 404 && child.kind.is_optional() => {
                Problem::KindUnknown { object, kind: format!("{} of {}", child.kind.name(), child.kind.api_version()) }
            }
            error => Problem::from_api(&object, error),
        })?);
        self.memory().insert(place(identity, child), Memory::of(child, &answer));
        observed.put(child.kind, &child.name, answer);
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<Place, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `replicas` to a manager of its own before the operator stops naming it: a field without any manager would
    /// fall back to 1.
    async fn hand_over_replicas(&self, identity: &Identity, child: &Child, live: &Value) -> Result<(), Problem> {
        if !manages_replicas(live, FIELD_MANAGER) {
            return Ok(());
        }
        // An autoscaler leaves a Deployment of no pods alone.
        let replicas = live["spec"]["replicas"].as_i64().unwrap_or(1).max(1);
        let patch = json!({
            "apiVersion": child.kind.api_version(), "kind": child.kind.name(),
            "metadata": { "name": child.name }, "spec": { "replicas": replicas },
        });
        let api = api(&self.client, identity, &child.kind.resource());
        let params = PatchParams::apply(REPLICAS_MANAGER).force();
        let answer = api.patch(&child.name, &params, &Patch::Apply(&patch)).await;
        answer.map(drop).map_err(|error| Problem::from_api(&format!("Deployment {}", child.name), error))
    }

    /// Makes an object that must not exist yet. Whether it was made; if not, somebody was faster.
    pub async fn create(&self, identity: &Identity, kind: Kind, object: &Value) -> Result<Option<Value>, Problem> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let typed: DynamicObject = serde_json::from_value(object.clone()).expect("a built object has metadata");
        let params = PostParams { dry_run: false, field_manager: Some(CREDENTIALS_MANAGER.to_owned()) };
        match api(&self.client, identity, &kind.resource()).create(&params, &typed).await {
            Ok(created) => Ok(Some(to_value(&created))),
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => Ok(None),
            Err(error) => Err(Problem::from_api(&format!("{} {name}", kind.name()), error)),
        }
    }

    /// Adds keys to a made-up credential. A conflict if somebody has written it since it was read: the key may have come
    /// back.
    pub async fn add_keys(&self, identity: &Identity, secret: &Value, keys: &SecretData) -> Result<Value, Problem> {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        let patch = json!({
            "metadata": { "resourceVersion": secret["metadata"]["resourceVersion"] },
            "data": encode_data(keys),
        });
        let params = PatchParams { field_manager: Some(CREDENTIALS_MANAGER.to_owned()), ..PatchParams::default() };
        let answer =
            api(&self.client, identity, &Kind::Secret.resource()).patch(name, &params, &Patch::Merge(&patch)).await;
        answer.map(|object| to_value(&object)).map_err(|error| Problem::from_api(&format!("Secret {name}"), error))
    }

    /// Sets the owner of a made-up credential, and nothing else of it: its data has another manager.
    pub async fn adopt(&self, identity: &Identity, name: &str, owned: bool) -> Result<Value, Problem> {
        let owners = if owned { json!([identity.owner_reference()]) } else { json!([]) };
        let patch = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "ownerReferences": owners },
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let answer =
            api(&self.client, identity, &Kind::Secret.resource()).patch(name, &params, &Patch::Apply(&patch)).await;
        answer.map(|object| to_value(&object)).map_err(|error| Problem::from_api(&format!("Secret {name}"), error))
    }

    /// Deletes exactly the object that was seen. One that is gone already is as good.
    pub async fn delete(
        &self,
        identity: &Identity,
        kind: Kind,
        name: &str,
        live: &Value,
        params: DeleteParams,
    ) -> Result<(), Problem> {
        let preconditions = Preconditions { uid: Some(uid(live)), resource_version: None };
        let params = params.preconditions(preconditions);
        self.memory().remove(&(identity.uid.clone(), kind, name.to_owned()));
        match api(&self.client, identity, &kind.resource()).delete(name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Problem::from_api(&format!("{} {name}", kind.name()), error)),
        }
    }

    /// Deletes a pod that is stuck in an old revision.
    pub async fn delete_pod(&self, identity: &Identity, pod: &Value) -> Result<(), Problem> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let gvk = kube::core::GroupVersionKind::gvk("", "v1", "Pod");
        let resource = kube::core::ApiResource::from_gvk_with_plural(&gvk, "pods");
        let preconditions = Preconditions { uid: Some(uid(pod)), resource_version: None };
        let params = DeleteParams::default().preconditions(preconditions);
        match api(&self.client, identity, &resource).delete(name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Problem::from_api(&format!("Pod {name}"), error)),
        }
    }

    /// Lets the volumes of a StatefulSet grow to what it asks for; it cannot do that itself. Whether any had to.
    pub async fn expand_claims(&self, identity: &Identity, child: &Child, claims: &[Value]) -> Result<bool, Problem> {
        let wanted =
            child.object["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"].clone();
        let size = |value: &Value| value.as_str().and_then(quantity::parse);
        let gvk = kube::core::GroupVersionKind::gvk("", "v1", "PersistentVolumeClaim");
        let resource = kube::core::ApiResource::from_gvk_with_plural(&gvk, "persistentvolumeclaims");
        let mut expanded = false;
        for claim in claims {
            let name = claim["metadata"]["name"].as_str().unwrap_or_default();
            let of_this = name.starts_with(&format!("data-{}-", child.name));
            if !of_this || size(&claim["spec"]["resources"]["requests"]["storage"]) >= size(&wanted) {
                continue;
            }
            let patch = json!({ "spec": { "resources": { "requests": { "storage": wanted } } } });
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let answer = api(&self.client, identity, &resource).patch(name, &params, &Patch::Merge(&patch)).await;
            answer.map_err(|error| refused_growth(name, error))?;
            expanded = true;
        }
        Ok(expanded)
    }

    /// Deletes what is ours and no longer wanted.
    pub async fn prune<'a>(
        &self,
        identity: &Identity,
        wanted: impl Iterator<Item = &'a Child>,
        observed: &mut Observed,
    ) -> Result<usize, Problem> {
        let wanted: Vec<(Kind, &str)> = wanted.map(|child| (child.kind, child.name.as_str())).collect();
        let unwanted: Vec<(Kind, String, Value)> = observed
            .objects()
            .filter(|(kind, name, object)| !wanted.contains(&(*kind, *name)) && is_prunable(identity, object))
            .map(|(kind, name, object)| (kind, name.to_owned(), object.clone()))
            .collect();
        for (kind, name, object) in &unwanted {
            self.delete(identity, *kind, name, object, DeleteParams::background()).await?;
            observed.remove(*kind, name);
        }
        Ok(unwanted.len())
    }
}

/// What forbids writing over an existing object.
fn obstacle(identity: &Identity, child: &Child, live: &Value) -> Result<Option<Outcome>, Problem> {
    let object = format!("{} {}", child.kind.name(), child.name);
    match identity.ownership(live) {
        Ownership::Foreign => Err(Problem::NameTaken { kind: child.kind.name().to_owned(), name: child.name.clone() }),
        Ownership::Predecessor => {
            Ok(Some(Outcome::Waiting(format!("{object} of a deleted platform of this name is about to go"))))
        }
        Ownership::Ours if live["metadata"].get("deletionTimestamp").is_some() => {
            Ok(Some(Outcome::Waiting(format!("{object} is being deleted"))))
        }
        Ownership::Ours => Ok(None),
    }
}

/// Ours by an owner reference, not merely by labels; and no made-up credential, which may be owned too.
fn is_prunable(identity: &Identity, object: &Value) -> bool {
    let owned = object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
    let is_credential = object["metadata"]["labels"]["app.kubernetes.io/component"] == "credentials";
    let is_going = object["metadata"].get("deletionTimestamp").is_some();
    owned && !is_credential && !is_going && identity.ownership(object) == Ownership::Ours
}

/// A class whose volumes cannot grow answers "forbidden", as a missing right does; only the words differ.
fn refused_growth(claim: &str, error: kube::Error) -> Problem {
    match Problem::from_api(&format!("PersistentVolumeClaim {claim}"), error) {
        Problem::Forbidden(message) if !message.contains("cannot patch resource") => {
            Problem::Refused { object: format!("growth of PersistentVolumeClaim {claim}"), message }
        }
        problem => problem,
    }
}

/// Whether a StatefulSet differs in what can never change.
fn needs_recreation(live: &Value, desired: &Value) -> bool {
    ["volumeClaimTemplates", "serviceName", "podManagementPolicy", "selector"]
        .iter()
        .any(|field| !covers(&live["spec"][*field], &desired["spec"][*field]))
}

fn manages_replicas(live: &Value, manager: &str) -> bool {
    let fields = live["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    fields.iter().any(|entry| {
        entry["manager"] == manager
            && entry["operation"] == "Apply"
            && entry["fieldsV1"]["f:spec"].get("f:replicas").is_some()
    })
}

fn place(identity: &Identity, child: &Child) -> Place {
    (identity.uid.clone(), child.kind, child.name.clone())
}

impl Memory {
    fn of(child: &Child, live: &Value) -> Self {
        let hash = child.object["metadata"]["annotations"][HASH_ANNOTATION].as_str().unwrap_or_default().to_owned();
        Self { hash, fingerprint: fingerprint(live) }
    }
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}
