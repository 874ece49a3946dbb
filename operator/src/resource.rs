//! The objects of a platform, whatever their kind: names, labels, ownership, hashes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::Job,
        core::v1::{ConfigMap, Secret, Service},
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference},
};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "eventplatform-operator";
/// Value of the label `app.kubernetes.io/managed-by`.
pub const MANAGED_BY: &str = "eventplatform-operator";
/// Annotation with the hash of the desired object.
pub const HASH_ANNOTATION: &str = "platform.eventbooking.dev/hash";
/// Annotation of pods with the hash of the configuration and secrets that they read at startup.
pub const CONFIG_HASH_ANNOTATION: &str = "platform.eventbooking.dev/config-hash";
/// Annotations of what has no owner and must outlive the platform. Argo CD takes it for an application's by the label
/// `app.kubernetes.io/instance`, and would prune it.
pub const KEEP_ANNOTATIONS: [(&str, &str); 2] = [
    ("argocd.argoproj.io/sync-options", "Prune=false,Delete=false"),
    ("argocd.argoproj.io/compare-options", "IgnoreExtraneous"),
];
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
    /// gateway.networking.k8s.io/v1, if installed
    HttpRoute,
    /// monitoring.coreos.com/v1, if installed
    ServiceMonitor,
}

impl Kind {
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

    /// The `kind` of the API.
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

/// What the labels and owner references of a platform's objects need.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Identity {
    pub name: String,
    pub namespace: String,
    pub uid: String,
}

/// Who owns an existing object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ownership {
    /// This platform.
    Ours,
    /// A deleted platform of the same name. The garbage collector will delete it.
    Predecessor,
    /// Somebody else.
    Foreign,
}

impl Identity {
    /// Name of an object of the platform: the platform's name and `suffix`, or the name alone.
    pub fn resource_name(&self, suffix: &str) -> String {
        if suffix.is_empty() { self.name.clone() } else { format!("{}-{suffix}", self.name) }
    }

    /// Metadata of an object that the platform owns, labelled as part of `component`.
    pub fn metadata(&self, suffix: &str, component: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.resource_name(suffix)),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels(component)),
            owner_references: Some(vec![self.owner_reference()]),
            ..Default::default()
        }
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

    /// Selects the pods of `component`. A workload's selector is immutable, so these labels never change.
    pub fn selector(&self, component: &str) -> LabelSelector {
        let mut selector = self.platform_selector();
        let labels = selector.match_labels.get_or_insert_default();
        labels.insert("app.kubernetes.io/component".to_owned(), component.to_owned());
        selector
    }

    /// Selects everything that belongs to the platform.
    pub fn platform_selector(&self) -> LabelSelector {
        let labels = [("app.kubernetes.io/instance", self.name.as_str()), ("app.kubernetes.io/managed-by", MANAGED_BY)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        LabelSelector { match_labels: Some(labels.into()), ..Default::default() }
    }

    /// Label selector of everything that belongs to the platform.
    pub fn label_selector(&self) -> String {
        format!("app.kubernetes.io/managed-by={MANAGED_BY},app.kubernetes.io/instance={}", self.name)
    }

    pub fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: OWNER_API_VERSION.to_owned(),
            kind: "EventPlatform".to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// Who owns `object`. Ours has our labels and our owner reference; a retained credential has no owner.
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

/// A type of k8s-openapi that the operator writes.
pub trait Typed: Serialize {
    const KIND: Kind;
}

macro_rules! typed {
    ($($kind:ident),+) => { $(impl Typed for $kind { const KIND: Kind = Kind::$kind; })+ };
}

typed!(Secret, ConfigMap, Service, NetworkPolicy, StatefulSet, Deployment, Job, PodDisruptionBudget);
typed!(HorizontalPodAutoscaler, Ingress);

/// A desired object of any kind, as it is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    pub kind: Kind,
    pub name: String,
    pub object: Value,
}

impl<T: Typed> From<T> for Resource {
    fn from(object: T) -> Self {
        Self::new(T::KIND, &object)
    }
}

impl Resource {
    /// An object of a kind that has no type in k8s-openapi.
    pub fn dynamic(kind: Kind, metadata: ObjectMeta, spec: &Value) -> Self {
        let mut object = DynamicObject::new("", &kind.resource()).data(json!({ "spec": spec }));
        object.metadata = metadata;
        Self::new(kind, &object)
    }

    /// Adds an annotation with the hash of the whole object. It reveals a field that is no longer desired.
    fn new(kind: Kind, object: &impl Serialize) -> Self {
        let mut object = serde_json::to_value(object).expect("a built object can be written as JSON");
        object["metadata"]["annotations"][HASH_ANNOTATION] = hash(&object).into();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Self { kind, name, object }
    }

    /// The object with another value at `pointer`, if there is one.
    #[must_use]
    pub fn with(&self, pointer: &str, value: Value) -> Self {
        let mut object = self.object.clone();
        if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
            annotations.remove(HASH_ANNOTATION);
        }
        if let Some(place) = object.pointer_mut(pointer) {
            *place = value;
        }
        Self::new(self.kind, &object)
    }

    /// The hash of the object as it is desired.
    pub fn hash(&self) -> &str {
        self.object["metadata"]["annotations"][HASH_ANNOTATION].as_str().unwrap_or_default()
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.kind.name(), self.name)
    }
}

/// A hash of 16 hexadecimal digits, the same in every process.
pub fn hash(value: &Value) -> String {
    let mut bytes = Vec::new();
    canonical(value, &mut bytes);
    hex::encode(&Sha256::digest(&bytes)[..8])
}

/// Writes a value with sorted keys.
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
