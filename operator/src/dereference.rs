//! Everything that is read of the cluster before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{try_join, try_join_all};
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use crate::{
    child::{Identity, Kind, Ownership},
    crd::{EventPlatformSpec, PaymentProvider, Tls},
    credentials::{Credential, SecretData, secret_data},
    problem::Problem,
};

/// What exists of a platform.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Objects with the platform's labels.
    objects: BTreeMap<(Kind, String), Value>,
    /// Volumes of the servers.
    pub claims: Vec<Value>,
    /// Pods.
    pub pods: Vec<Value>,
    /// The Secrets that the spec refers to; `None` where there is none.
    pub references: BTreeMap<String, Option<SecretData>>,
    /// The kinds that the cluster knows.
    pub known: BTreeSet<Kind>,
}

impl Observed {
    /// An object, if it exists with the platform's labels.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// Notes an object. Lists leave kind and version of their items out.
    pub fn put(&mut self, kind: Kind, name: &str, mut object: Value) {
        object["kind"] = Value::String(kind.name().to_owned());
        object["apiVersion"] = Value::String(kind.api_version());
        self.objects.insert((kind, name.to_owned()), object);
    }

    /// Notes a deletion.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.objects.remove(&(kind, name.to_owned()));
    }

    /// All objects.
    pub fn objects(&self) -> impl Iterator<Item = (Kind, &str, &Value)> {
        self.objects.iter().map(|((kind, name), object)| (*kind, name.as_str(), object))
    }

    /// Whether the platform was set up before, in this life or a former one whose volumes were kept: then a missing
    /// credential is lost, not new. Credentials come before everything else.
    pub fn is_established(&self, identity: &Identity) -> bool {
        let credentials: Vec<String> =
            Credential::ALL.iter().map(|credential| identity.child_name(credential.suffix())).collect();
        let made = self.objects().any(|(kind, name, object)| {
            let is_credential = kind == Kind::Secret && credentials.iter().any(|credential| credential == name);
            !is_credential && identity.ownership(object) == Ownership::Ours
        });
        made || self.claims.iter().any(|claim| claim["metadata"].get("deletionTimestamp").is_none())
    }

    /// Pods of a component.
    pub fn pods_of<'a>(&'a self, component: &'a str) -> impl Iterator<Item = &'a Value> {
        self.pods.iter().filter(move |pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] == component)
    }
}

/// A Secret that the spec refers to, and what it must hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// Where the spec speaks of it.
    pub field: &'static str,
    /// Name of the Secret.
    pub name: String,
    /// Keys that it must have.
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
pub async fn observe(client: &Client, identity: &Identity, spec: &EventPlatformSpec) -> Result<Observed, Problem> {
    let selector = identity.label_selector();
    let kinds = try_join_all(Kind::ALL.map(|kind| list_kind(client, identity, kind, &selector)));
    let core =
        |kind: &str, plural: &str| ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", kind), plural);
    let (claims, pods) = (core("PersistentVolumeClaim", "persistentvolumeclaims"), core("Pod", "pods"));
    let rest = try_join(list(client, identity, &claims, &selector), list(client, identity, &pods, &selector));
    let secrets = try_join_all(references(spec).into_iter().map(|reference| async move {
        let secret = get(client, identity, Kind::Secret, &reference.name).await?;
        Ok::<_, Problem>((reference.name, secret.as_ref().map(secret_data)))
    }));
    let ((kinds, (claims, pods)), secrets) = try_join(try_join(kinds, rest), secrets).await?;
    let mut observed = Observed { claims, pods, references: secrets.into_iter().collect(), ..Observed::default() };
    for (kind, objects) in Kind::ALL.into_iter().zip(kinds) {
        if let Some(objects) = objects {
            observed.known.insert(kind);
            for object in objects {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                observed.put(kind, &name, object);
            }
        }
    }
    Ok(observed)
}

/// Reads one object, whoever it belongs to.
pub async fn get(client: &Client, identity: &Identity, kind: Kind, name: &str) -> Result<Option<Value>, Problem> {
    let found = api(client, identity, &kind.resource()).get_opt(name).await;
    let found = found.map_err(|error| Problem::from_api(&format!("{} {name}", kind.name()), error))?;
    Ok(found.map(|object| {
        let mut object = to_value(&object);
        object["kind"] = Value::String(kind.name().to_owned());
        object
    }))
}

/// The objects of a kind; `None` where the cluster does not know it.
async fn list_kind(
    client: &Client,
    identity: &Identity,
    kind: Kind,
    selector: &str,
) -> Result<Option<Vec<Value>>, Problem> {
    match list(client, identity, &kind.resource(), selector).await {
        Ok(objects) => Ok(Some(objects)),
        Err(Problem::Api(error)) if kind.is_optional() && is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

async fn list(
    client: &Client,
    identity: &Identity,
    resource: &ApiResource,
    selector: &str,
) -> Result<Vec<Value>, Problem> {
    let found = api(client, identity, resource).list(&ListParams::default().labels(selector)).await;
    let found = found.map_err(|error| Problem::from_api(&resource.plural, error))?;
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
