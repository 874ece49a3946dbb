//! Every write. Server-side apply with one field manager, forced only over our own objects, and only where it changes
//! something.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    credentials::{SecretData, encode_data},
    dereference::{self, ClusterState, api, to_value},
    drift::{covers, fingerprint},
    error::{Error, Result},
    quantity,
    resource::{FIELD_MANAGER, HASH_ANNOTATION, Identity, Kind, Ownership, Resource},
};

/// The field manager that holds `replicas` between the operator and an autoscaler.
const REPLICAS_MANAGER: &str = "eventplatform-operator-replicas";

/// The field manager of the data of generated credentials.
const CREDENTIALS_MANAGER: &str = "eventplatform-operator-credentials";

/// What was done to a resource.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was as desired, so nothing was written.
    Unchanged,
    Created,
    /// The desired state had changed.
    Updated,
    /// Somebody else had changed or deleted it.
    Restored,
    /// It cannot be written yet, and why.
    Waiting(String),
}

/// Writes objects, and remembers what the API server made of them.
pub struct Applier {
    client: Client,
    applied: Mutex<HashMap<Key, Applied>>,
}

/// The platform, and kind and name of the object.
type Key = (Identity, Kind, String);

/// The hash of what was applied, and the fingerprint of the answer. While both are the same, applying again would change
/// nothing, even where the API server normalized what it was sent.
#[derive(Eq, PartialEq)]
struct Applied {
    hash: String,
    fingerprint: String,
}

impl Applier {
    pub fn new(client: Client) -> Self {
        Self { client, applied: Mutex::default() }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Forgets what was applied for a platform that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.applied().retain(|(platform, ..), _| platform.namespace != namespace || platform.name != name);
    }

    /// Brings an object to its desired state.
    pub async fn apply(&self, identity: &Identity, resource: &Resource, cluster: &mut ClusterState) -> Result<Outcome> {
        let live = match cluster.get(resource.kind, &resource.name) {
            Some(live) => Some(live.clone()),
            // It may exist without our labels.
            None => dereference::get(&self.client, identity, resource.kind, &resource.name).await?,
        };
        let Some(live) = live else {
            let existed = self.applied().contains_key(&key(identity, resource));
            // Not forced: if somebody else creates it at this very moment, it stays theirs.
            self.patch(identity, resource, false, cluster).await?;
            return Ok(if existed { Outcome::Restored } else { Outcome::Created });
        };
        if let Some(why) = check_ownership(identity, resource, &live)? {
            return Ok(Outcome::Waiting(why));
        }
        let applied = Applied::new(resource, &live);
        if covers(&live, &resource.object) || self.applied().get(&key(identity, resource)) == Some(&applied) {
            self.applied().insert(key(identity, resource), applied);
            return Ok(Outcome::Unchanged);
        }
        if resource.kind == Kind::StatefulSet && needs_recreation(&live, &resource.object) {
            // Its pods and volumes stay and are adopted by its successor.
            self.delete(identity, resource.kind, &resource.name, &live, DeleteParams::orphan()).await?;
            cluster.remove(resource.kind, &resource.name);
            return Ok(Outcome::Waiting(format!("{resource} is recreated around its pods")));
        }
        if resource.kind == Kind::Deployment && resource.object["spec"].get("replicas").is_none() {
            self.hand_over_replicas(identity, resource, &live).await?;
        }
        let is_current = live["metadata"]["annotations"][HASH_ANNOTATION] == resource.hash();
        self.patch(identity, resource, true, cluster).await?;
        Ok(match cluster.get(resource.kind, &resource.name).map(fingerprint) {
            // It differs only in what the API server makes of it, which an operator that has just started does not know.
            Some(answer) if answer == applied.fingerprint => Outcome::Unchanged,
            _ if is_current => Outcome::Restored,
            _ => Outcome::Updated,
        })
    }

    async fn patch(
        &self,
        identity: &Identity,
        resource: &Resource,
        force: bool,
        cluster: &mut ClusterState,
    ) -> Result<()> {
        let mut params = PatchParams::apply(FIELD_MANAGER);
        params.force = force;
        let api = self.api(identity, resource.kind);
        let answer = api.patch(&resource.name, &params, &Patch::Apply(&resource.object)).await;
        let answer = to_value(&answer.map_err(|error| match error {
            // A patch creates what is absent, unless the kind is unknown.
            kube::Error::Api(status) if status.code == 404 && resource.kind.is_optional() => Error::KindUnknown {
                object: resource.to_string(),
                kind: format!("{} of {}", resource.kind.name(), resource.kind.api_version()),
            },
            error => Error::from_api(&resource.to_string(), error),
        })?);
        self.applied().insert(key(identity, resource), Applied::new(resource, &answer));
        cluster.put(resource.kind, &resource.name, answer);
        Ok(())
    }

    fn api(&self, identity: &Identity, kind: Kind) -> Api<DynamicObject> {
        api(&self.client, identity, &kind.resource())
    }

    fn applied(&self) -> MutexGuard<'_, HashMap<Key, Applied>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `replicas` to a field manager of its own before the operator stops setting it. A field without a manager
    /// would fall back to 1.
    async fn hand_over_replicas(&self, identity: &Identity, resource: &Resource, live: &Value) -> Result<()> {
        if !manages_replicas(live, FIELD_MANAGER) {
            return Ok(());
        }
        // An autoscaler does not scale a Deployment up from 0.
        let replicas = live["spec"]["replicas"].as_i64().unwrap_or(1).max(1);
        let patch = json!({
            "apiVersion": resource.kind.api_version(), "kind": resource.kind.name(),
            "metadata": { "name": resource.name }, "spec": { "replicas": replicas },
        });
        let params = PatchParams::apply(REPLICAS_MANAGER).force();
        let answer = self.api(identity, resource.kind).patch(&resource.name, &params, &Patch::Apply(&patch)).await;
        answer.map(drop).map_err(|error| Error::from_api(&resource.to_string(), error))
    }

    /// Creates a Secret. `None` if it exists already.
    pub async fn create_secret(&self, identity: &Identity, secret: &Secret) -> Result<Option<Value>> {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &identity.namespace);
        let params = PostParams { dry_run: false, field_manager: Some(CREDENTIALS_MANAGER.to_owned()) };
        match api.create(&params, secret).await {
            Ok(created) => Ok(Some(json!(created))),
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => Ok(None),
            Err(error) => Err(Error::from_api(&format!("Secret {name}"), error)),
        }
    }

    /// Adds keys to a generated credential. A conflict if somebody else has written it since it was read: the key may
    /// have come back.
    pub async fn add_keys(&self, identity: &Identity, secret: &Value, keys: &SecretData) -> Result<Value> {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        let patch = json!({
            "metadata": { "resourceVersion": secret["metadata"]["resourceVersion"] },
            "data": encode_data(keys),
        });
        let params = PatchParams { field_manager: Some(CREDENTIALS_MANAGER.to_owned()), ..PatchParams::default() };
        self.patch_secret(identity, name, &params, &Patch::Merge(&patch)).await
    }

    /// Adds annotations to a generated credential.
    pub async fn annotate_secret(
        &self,
        identity: &Identity,
        name: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Value> {
        let patch = json!({ "metadata": { "annotations": annotations } });
        let params = PatchParams { field_manager: Some(CREDENTIALS_MANAGER.to_owned()), ..PatchParams::default() };
        self.patch_secret(identity, name, &params, &Patch::Merge(&patch)).await
    }

    /// Sets or removes the platform's owner reference of a generated credential. A conflict if somebody else has written
    /// the Secret since it was read.
    ///
    /// No server-side apply: that removes only what no other field manager owns, and the reference belongs to the manager
    /// that created the Secret.
    pub async fn set_owner(&self, identity: &Identity, secret: &Value, owned: bool) -> Result<Value> {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        let others = secret["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default().into_iter();
        let mut owners: Vec<Value> = others.filter(|owner| owner["uid"] != *identity.uid).collect();
        owners.extend(owned.then(|| json!(identity.owner_reference())));
        let patch = json!({
            "metadata": { "resourceVersion": secret["metadata"]["resourceVersion"], "ownerReferences": owners },
        });
        let params = PatchParams { field_manager: Some(CREDENTIALS_MANAGER.to_owned()), ..PatchParams::default() };
        self.patch_secret(identity, name, &params, &Patch::Merge(&patch)).await
    }

    async fn patch_secret<P: Serialize + std::fmt::Debug>(
        &self,
        identity: &Identity,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<Value> {
        let answer = self.api(identity, Kind::Secret).patch(name, params, patch).await;
        answer.map(|object| to_value(&object)).map_err(|error| Error::from_api(&format!("Secret {name}"), error))
    }

    /// Deletes exactly the object that was read. Succeeds if it is gone already.
    pub async fn delete(
        &self,
        identity: &Identity,
        kind: Kind,
        name: &str,
        live: &Value,
        params: DeleteParams,
    ) -> Result<()> {
        self.applied().remove(&(identity.clone(), kind, name.to_owned()));
        delete(&self.api(identity, kind), kind.name(), live, params).await
    }

    pub async fn delete_pod(&self, identity: &Identity, pod: &Value) -> Result<()> {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
        delete(&api(&self.client, identity, &resource), "Pod", pod, DeleteParams::default()).await
    }

    /// Adds annotations to a volume's claim. Returns whether any was missing.
    pub async fn annotate_claim(
        &self,
        identity: &Identity,
        claim: &Value,
        annotations: &BTreeMap<String, String>,
    ) -> Result<bool> {
        let present = &claim["metadata"]["annotations"];
        if annotations.iter().all(|(key, value)| present[key] == **value) {
            return Ok(false);
        }
        let name = claim["metadata"]["name"].as_str().unwrap_or_default();
        let patch = json!({ "metadata": { "annotations": annotations } });
        let answer = self.patch_claim(identity, name, &patch).await;
        answer.map_err(|error| Error::from_api(&format!("PersistentVolumeClaim {name}"), error))?;
        Ok(true)
    }

    async fn patch_claim(&self, identity: &Identity, name: &str, patch: &Value) -> kube::Result<()> {
        let gvk = GroupVersionKind::gvk("", "v1", "PersistentVolumeClaim");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "persistentvolumeclaims");
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api(&self.client, identity, &resource).patch(name, &params, &Patch::Merge(patch)).await.map(drop)
    }

    /// Expands the volumes of a StatefulSet to the size in its template, which Kubernetes does not do. Returns whether any
    /// was too small.
    pub async fn expand_claims(&self, identity: &Identity, set: &Resource, claims: &[Value]) -> Result<bool> {
        let desired = set.object["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"].clone();
        let size = |value: &Value| value.as_str().and_then(quantity::parse);
        let mut expanded = false;
        for claim in claims {
            let name = claim["metadata"]["name"].as_str().unwrap_or_default();
            let of_set = name.starts_with(&format!("data-{}-", set.name));
            if !of_set || size(&claim["spec"]["resources"]["requests"]["storage"]) >= size(&desired) {
                continue;
            }
            let patch = json!({ "spec": { "resources": { "requests": { "storage": desired } } } });
            self.patch_claim(identity, name, &patch).await.map_err(|error| expansion_error(name, error))?;
            expanded = true;
        }
        Ok(expanded)
    }

    /// Deletes our objects that are no longer desired.
    pub async fn prune<'a>(
        &self,
        identity: &Identity,
        desired: impl Iterator<Item = &'a Resource>,
        cluster: &mut ClusterState,
    ) -> Result<()> {
        let desired: Vec<(Kind, &str)> = desired.map(|resource| (resource.kind, resource.name.as_str())).collect();
        let undesired: Vec<(Kind, String, Value)> = cluster
            .objects()
            .filter(|(kind, name, object)| !desired.contains(&(*kind, *name)) && is_prunable(identity, object))
            .map(|(kind, name, object)| (kind, name.to_owned(), object.clone()))
            .collect();
        for (kind, name, object) in &undesired {
            self.delete(identity, *kind, name, object, DeleteParams::background()).await?;
            cluster.remove(*kind, name);
        }
        Ok(())
    }
}

async fn delete(api: &Api<DynamicObject>, kind: &str, live: &Value, params: DeleteParams) -> Result<()> {
    let text = |field: &str| live["metadata"][field].as_str().unwrap_or_default();
    let name = text("name");
    let params = params.preconditions(Preconditions { uid: Some(text("uid").to_owned()), resource_version: None });
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::from_api(&format!("{kind} {name}"), error)),
    }
}

/// Fails if an existing object is somebody else's. Returns why it cannot be written yet, if so.
fn check_ownership(identity: &Identity, resource: &Resource, live: &Value) -> Result<Option<String>> {
    match identity.ownership(live) {
        Ownership::Foreign => {
            Err(Error::NameTaken { kind: resource.kind.name().to_owned(), name: resource.name.clone() })
        }
        Ownership::Predecessor => Ok(Some(format!("{resource} of a deleted platform of this name is being deleted"))),
        Ownership::Ours if live["metadata"].get("deletionTimestamp").is_some() => {
            Ok(Some(format!("{resource} is being deleted")))
        }
        Ownership::Ours => Ok(None),
    }
}

/// Ours by an owner reference, not merely by labels; and no generated credential, which may be owned too.
fn is_prunable(identity: &Identity, object: &Value) -> bool {
    let owned = object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
    let is_credential = object["metadata"]["labels"]["app.kubernetes.io/component"] == "credentials";
    let is_leaving = object["metadata"].get("deletionTimestamp").is_some();
    owned && !is_credential && !is_leaving && identity.ownership(object) == Ownership::Ours
}

/// Says how to go back if a storage class or quota refuses the expansion.
fn expansion_error(claim: &str, error: kube::Error) -> Error {
    let object = format!("the expansion of PersistentVolumeClaim {claim}");
    match Error::from_api(&object, error) {
        Error::Refused { object, message } => {
            let message = format!("{message}; mend that, or set storage.size back to what status.dependencies names");
            Error::Refused { object, message }
        }
        error => error,
    }
}

/// Whether an immutable field of a StatefulSet differs.
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

fn key(identity: &Identity, resource: &Resource) -> Key {
    (identity.clone(), resource.kind, resource.name.clone())
}

impl Applied {
    fn new(resource: &Resource, live: &Value) -> Self {
        Self { hash: resource.hash().to_owned(), fingerprint: fingerprint(live) }
    }
}
