//! The objects that the operator makes, whatever their kind: names, labels, ownership.

use std::collections::BTreeMap;

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "eventplatform-operator";
/// Value of the label `app.kubernetes.io/managed-by`.
pub const MANAGED_BY: &str = "eventplatform-operator";
/// Annotation with the hash of what the operator wants of an object.
pub const HASH_ANNOTATION: &str = "platform.eventbooking.dev/hash";
/// Annotation of pods with the hash of the configuration and the secrets that they read.
pub const CONFIG_HASH_ANNOTATION: &str = "platform.eventbooking.dev/config-hash";
/// Group, version and kind of the owner.
pub const OWNER_API_VERSION: &str = "platform.eventbooking.dev/v1alpha1";

/// The kinds of objects that a platform is made of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// core/v1
    Secret,
    /// core/v1
    ConfigMap,
    /// core/v1
    Service,
    /// networking.k8s.io/v1
    NetworkPolicy,
    /// apps/v1
    StatefulSet,
    /// apps/v1
    Deployment,
    /// batch/v1
    Job,
    /// policy/v1
    PodDisruptionBudget,
    /// autoscaling/v2
    HorizontalPodAutoscaler,
    /// networking.k8s.io/v1
    Ingress,
    /// gateway.networking.k8s.io/v1, where the cluster knows it
    HttpRoute,
    /// monitoring.coreos.com/v1, where the cluster knows it
    ServiceMonitor,
}

impl Kind {
    /// All of them, in the order in which they are read.
    pub const ALL: [Self; 12] = [
        Self::Secret,
        Self::ConfigMap,
        Self::Service,
        Self::NetworkPolicy,
        Self::StatefulSet,
        Self::Deployment,
        Self::Job,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::HttpRoute,
        Self::ServiceMonitor,
    ];

    /// Whether a cluster may lack the kind.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::HttpRoute | Self::ServiceMonitor)
    }

    /// Name of the kind as Kubernetes spells it.
    pub fn name(self) -> &'static str {
        self.coordinates().2
    }

    /// `v1` or `group/version`.
    pub fn api_version(self) -> String {
        match self.coordinates() {
            ("", version, ..) => version.to_owned(),
            (group, version, ..) => format!("{group}/{version}"),
        }
    }

    /// How to ask the API server for it.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.coordinates();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    fn coordinates(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::Job => ("batch", "v1", "Job", "jobs"),
            Self::PodDisruptionBudget => ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::HorizontalPodAutoscaler => {
                ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
            }
            Self::Ingress => ("networking.k8s.io", "v1", "Ingress", "ingresses"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            Self::ServiceMonitor => ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
        }
    }
}

/// Who a platform is, for the labels and owner references of its objects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Name of the EventPlatform.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

/// To whom an existing object belongs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ownership {
    /// This platform.
    Ours,
    /// A deleted platform of the same name; the garbage collector is about to take it.
    Predecessor,
    /// Somebody else.
    Foreign,
}

impl Identity {
    /// Name of a child: the platform's name and `suffix`.
    pub fn child_name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    /// Labels of every object that belongs to `component`.
    pub fn labels(&self, component: &str) -> BTreeMap<String, String> {
        let name = if component.is_empty() { "eventplatform" } else { component };
        let mut labels: BTreeMap<String, String> = [
            ("app.kubernetes.io/name", name),
            ("app.kubernetes.io/instance", self.name.as_str()),
            ("app.kubernetes.io/part-of", "eventplatform"),
            ("app.kubernetes.io/managed-by", MANAGED_BY),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        if !component.is_empty() {
            labels.insert("app.kubernetes.io/component".to_owned(), component.to_owned());
        }
        labels
    }

    /// Labels by which the pods of `component` are found. They can never change.
    pub fn selector(&self, component: &str) -> Value {
        json!({
            "app.kubernetes.io/instance": self.name, "app.kubernetes.io/component": component,
            "app.kubernetes.io/managed-by": MANAGED_BY,
        })
    }

    /// Label selector of everything that belongs to the platform.
    pub fn label_selector(&self) -> String {
        format!("app.kubernetes.io/managed-by={MANAGED_BY},app.kubernetes.io/instance={}", self.name)
    }

    /// The reference by which the garbage collector knows the owner.
    pub fn owner_reference(&self) -> Value {
        json!({
            "apiVersion": OWNER_API_VERSION, "kind": "EventPlatform", "name": self.name, "uid": self.uid,
            "controller": true, "blockOwnerDeletion": true,
        })
    }

    /// To whom `object` belongs: ours has our labels, and our owner reference or (as kept credentials have) none.
    pub fn ownership(&self, object: &Value) -> Ownership {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        let labelled = label("app.kubernetes.io/managed-by") == Some(MANAGED_BY)
            && label("app.kubernetes.io/instance") == Some(self.name.as_str());
        let owners = object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        let platform = owners.iter().find(|owner| owner["kind"] == "EventPlatform" && owner["name"] == *self.name);
        match platform {
            _ if !labelled => Ownership::Foreign,
            Some(owner) if owner["uid"] == *self.uid => Ownership::Ours,
            Some(_) => Ownership::Predecessor,
            None if owners.is_empty() && object["kind"] == "Secret" => Ownership::Ours,
            None => Ownership::Foreign,
        }
    }
}

/// One object that the operator wants to exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it, as it is applied.
    pub object: Value,
}

impl Child {
    /// An object of `kind` with `body` (spec or data), owned by the platform and labelled as part of `component`.
    pub fn new(identity: &Identity, kind: Kind, suffix: &str, component: &str, body: Value) -> Self {
        let name = if suffix.is_empty() { identity.name.clone() } else { identity.child_name(suffix) };
        let mut object = json!({
            "apiVersion": kind.api_version(), "kind": kind.name(),
            "metadata": {
                "name": name, "namespace": identity.namespace, "labels": identity.labels(component),
                "ownerReferences": [identity.owner_reference()],
            },
        });
        if let (Some(object), Value::Object(body)) = (object.as_object_mut(), body) {
            object.extend(body);
        }
        Self { kind, name, object }
    }

    /// Adds annotations of the object itself.
    #[must_use]
    pub fn annotated(mut self, annotations: impl IntoIterator<Item = (String, String)>) -> Self {
        for (key, value) in annotations {
            self.object["metadata"]["annotations"][key] = Value::String(value);
        }
        self
    }

    /// Adds labels of the object itself.
    #[must_use]
    pub fn labelled(mut self, labels: impl IntoIterator<Item = (String, String)>) -> Self {
        for (key, value) in labels {
            self.object["metadata"]["labels"][key] = Value::String(value);
        }
        self
    }

    /// Adds the hash of all of it, by which a field that is no longer wanted is noticed.
    #[must_use]
    pub fn sealed(self) -> Self {
        let hash = hash(&self.object);
        self.annotated([(HASH_ANNOTATION.to_owned(), hash)])
    }
}

/// A short hash of a value, the same in every process.
pub fn hash(value: &Value) -> String {
    let mut bytes = Vec::new();
    canonical(value, &mut bytes);
    hex::encode(&Sha256::digest(&bytes)[..8])
}

/// Writes a value with the keys of its maps sorted, however they are kept.
fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            for (key, value) in sorted {
                out.extend(key.len().to_be_bytes());
                out.extend(key.as_bytes());
                canonical(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            for item in items {
                canonical(item, out);
            }
            out.push(b']');
        }
        scalar => out.extend(format!("{scalar},").as_bytes()),
    }
}
