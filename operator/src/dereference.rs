//! Reads everything in the cluster that concerns a platform, before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{try_join, try_join_all};
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use crate::{
    build::Program,
    crd::{EventPlatformSpec, PaymentProvider, Tls},
    credentials::{Credential, SecretData, secret_data},
    error::{Error, Result},
    resource::{Identity, Kind, Ownership},
};

/// What the cluster holds of a platform.
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    /// Objects with the platform's labels, and whatever has the name of one of its credentials.
    objects: BTreeMap<(Kind, String), Value>,
    /// The PersistentVolumeClaims of the servers.
    pub claims: Vec<Value>,
    pub pods: Vec<Value>,
    /// The Secrets that the spec refers to. `None` if a Secret does not exist.
    pub references: BTreeMap<String, Option<SecretData>>,
    /// The kinds that the API server knows.
    pub kinds: BTreeSet<Kind>,
}

impl ClusterState {
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// Adds or replaces an object. Sets its kind and version, which lists leave out.
    pub fn put(&mut self, kind: Kind, name: &str, mut object: Value) {
        object["kind"] = Value::String(kind.name().to_owned());
        object["apiVersion"] = Value::String(kind.api_version());
        self.objects.insert((kind, name.to_owned()), object);
    }

    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.objects.remove(&(kind, name.to_owned()));
    }

    pub fn objects(&self) -> impl Iterator<Item = (Kind, &str, &Value)> {
        self.objects.iter().map(|((kind, name), object)| (*kind, name.as_str(), object))
    }

    /// Whether the platform has objects or volumes, perhaps those of a deleted platform that were retained. Credentials
    /// are created before everything else, so a missing credential is then lost, not new.
    pub fn is_established(&self, identity: &Identity) -> bool {
        let credentials: Vec<String> =
            Credential::ALL.iter().map(|credential| identity.resource_name(credential.suffix())).collect();
        let made = self.objects().any(|(kind, name, object)| {
            let is_credential = kind == Kind::Secret && credentials.iter().any(|credential| credential == name);
            !is_credential && identity.ownership(object) == Ownership::Ours
        });
        made || self.claims.iter().any(|claim| claim["metadata"].get("deletionTimestamp").is_none())
    }

    /// Whether an established platform had this credential. Ticket keys came with a later version than the others: a
    /// platform that is older has none, and its booking-service mounts none.
    pub fn had_credential(&self, identity: &Identity, credential: Credential) -> bool {
        if credential != Credential::TicketKeys {
            return true;
        }
        let secret = identity.resource_name(credential.suffix());
        let booking = self.get(Kind::Deployment, &identity.resource_name(Program::Booking.name()));
        let volumes = booking.and_then(|booking| booking["spec"]["template"]["spec"]["volumes"].as_array());
        volumes.into_iter().flatten().any(|volume| volume["secret"]["secretName"] == secret)
    }

    /// Whether pods of the programs still exist.
    pub fn programs_running(&self, identity: &Identity) -> bool {
        let mut deployments = Program::ALL
            .iter()
            .filter_map(|program| self.get(Kind::Deployment, &identity.resource_name(program.name())));
        deployments.any(|deployment| deployment["status"]["replicas"].as_i64().unwrap_or(0) > 0)
    }

    pub fn pods_of<'a>(&'a self, component: &'a str) -> impl Iterator<Item = &'a Value> {
        self.pods.iter().filter(move |pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] == component)
    }
}

/// A Secret that the spec refers to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// The field of the spec.
    pub field: &'static str,
    /// Name of the Secret.
    pub name: String,
    /// The required keys.
    pub keys: &'static [&'static str],
}

/// The Secrets that a spec refers to.
pub fn references(spec: &EventPlatformSpec) -> Vec<Reference> {
    const LOGIN: &[&str] = &["username", "password"];
    let mut references = Vec::new();
    let mut add = |field, name: &str, keys| references.push(Reference { field, name: name.to_owned(), keys });
    let mut authorities: Vec<(&'static str, &Tls)> = Vec::new();
    if let Some(external) = &spec.postgres.external {
        add("postgres.external.credentialsSecretRef", &external.credentials_secret_ref.name, LOGIN);
        authorities.push(("postgres.external.tls.caSecretRef", &external.tls));
    }
    if let Some(external) = &spec.mongodb.external {
        add("mongodb.external.credentialsSecretRef", &external.credentials_secret_ref.name, LOGIN);
        authorities.push(("mongodb.external.tls.caSecretRef", &external.tls));
    }
    if let Some(external) = &spec.rabbitmq.external {
        add("rabbitmq.external.credentialsSecretRef", &external.credentials_secret_ref.name, LOGIN);
        authorities.push(("rabbitmq.external.tls.caSecretRef", &external.tls));
    }
    for (field, tls) in authorities {
        if let Some(authority) = &tls.ca_secret_ref {
            add(field, &authority.name, &["ca.crt"]);
        }
    }
    if let (PaymentProvider::Stripe, Some(reference)) = (spec.payments.provider, &spec.payments.credentials_secret_ref)
    {
        add("payments.credentialsSecretRef", &reference.name, &["api-key", "webhook-secret"]);
    }
    if let Some(admin) = &spec.admin {
        add("admin.credentialsSecretRef", &admin.credentials_secret_ref.name, &["email", "password"]);
    }
    references
}

/// Reads everything that concerns a platform.
pub async fn dereference(client: &Client, identity: &Identity, spec: &EventPlatformSpec) -> Result<ClusterState> {
    let selector = identity.label_selector();
    let kinds = try_join_all(Kind::ALL.map(|kind| list_kind(client, identity, kind, &selector)));
    let core =
        |kind: &str, plural: &str| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural);
    let (claims, pods) = (core("PersistentVolumeClaim", "persistentvolumeclaims"), core("Pod", "pods"));
    let rest = try_join(list(client, identity, &claims, &selector), list(client, identity, &pods, &selector));
    let secrets = try_join_all(references(spec).into_iter().map(|reference| async move {
        let secret = get(client, identity, Kind::Secret, &reference.name).await?;
        Ok::<_, Error>((reference.name, secret.as_ref().map(secret_data)))
    }));
    let ((kinds, (claims, pods)), secrets) = try_join(try_join(kinds, rest), secrets).await?;
    let mut cluster =
        ClusterState { claims, pods, references: secrets.into_iter().collect(), ..ClusterState::default() };
    for (kind, objects) in Kind::ALL.into_iter().zip(kinds) {
        if let Some(objects) = objects {
            cluster.kinds.insert(kind);
            for object in objects {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                cluster.put(kind, &name, object);
            }
        }
    }
    find_unlabelled_credentials(client, identity, &mut cluster).await?;
    Ok(cluster)
}

/// A Secret without the platform's labels may have the name of a credential.
async fn find_unlabelled_credentials(client: &Client, identity: &Identity, cluster: &mut ClusterState) -> Result<()> {
    let names = Credential::ALL.map(|credential| identity.resource_name(credential.suffix()));
    let missing = names.into_iter().filter(|name| cluster.get(Kind::Secret, name).is_none());
    let found = try_join_all(missing.map(|name| async move {
        let secret = get(client, identity, Kind::Secret, &name).await?;
        Ok::<_, Error>((name, secret))
    }));
    for (name, secret) in found.await? {
        if let Some(secret) = secret {
            cluster.put(Kind::Secret, &name, secret);
        }
    }
    Ok(())
}

/// Reads one object, whoever owns it.
pub async fn get(client: &Client, identity: &Identity, kind: Kind, name: &str) -> Result<Option<Value>> {
    let found = api(client, identity, &kind.resource()).get_opt(name).await;
    let found = found.map_err(|error| Error::from_api(&format!("{} {name}", kind.name()), error))?;
    Ok(found.map(|object| {
        let mut object = to_value(&object);
        object["kind"] = Value::String(kind.name().to_owned());
        object
    }))
}

/// The objects of a kind. `None` if the API server does not know it.
async fn list_kind(client: &Client, identity: &Identity, kind: Kind, selector: &str) -> Result<Option<Vec<Value>>> {
    match list(client, identity, &kind.resource(), selector).await {
        Ok(objects) => Ok(Some(objects)),
        Err(Error::Api(error)) if kind.is_optional() && is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

async fn list(client: &Client, identity: &Identity, resource: &ApiResource, selector: &str) -> Result<Vec<Value>> {
    let found = api(client, identity, resource).list(&ListParams::default().labels(selector)).await;
    let found = found.map_err(|error| Error::from_api(&resource.plural, error))?;
    Ok(found.items.iter().map(to_value).collect())
}

/// The API of a kind in the platform's namespace.
pub fn api(client: &Client, identity: &Identity, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &identity.namespace, resource)
}

/// An object as plain JSON.
pub fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).expect("an object that came as JSON is JSON")
}
