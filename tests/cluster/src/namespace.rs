//! A namespace of one test, under `restricted` Pod Security, with platforms in it. It is deleted when the test ends.

use std::fmt::{Debug, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventplatform_operator::crd::{ConditionStatus, EventPlatform, PlatformCondition};
use eventplatform_tests::wait;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Namespace as NamespaceObject, Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::pods::exec;

/// How long a platform may take to become Ready: its servers start from nothing, on a machine that does much else.
pub const READY_LIMIT: Duration = Duration::from_secs(420);
/// Longer than the operator's own time between two looks.
pub const REPAIR_LIMIT: Duration = Duration::from_secs(30);
const FIELD_MANAGER: &str = "cluster-tests";

/// A namespace of one test.
pub struct Namespace {
    /// Its name.
    pub name: String,
    client: Client,
}

impl Namespace {
    /// Makes a namespace whose name begins with `prefix`.
    pub async fn create(client: &Client, prefix: &str) -> Result<Self> {
        let name = format!("{prefix}-{}", &uuid::Uuid::new_v4().simple().to_string()[..6]);
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let object = serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } }))?;
        Api::<NamespaceObject>::all(client.clone()).create(&PostParams::default(), &object).await?;
        Ok(Self { name, client: client.clone() })
    }

    /// A namespace that is there already.
    pub fn existing(client: &Client, name: &str) -> Self {
        Self { name: name.to_owned(), client: client.clone() }
    }

    /// Runs a test in a namespace of its own. If it fails, says what the platforms and the pods are like.
    pub async fn with<F: AsyncFnOnce(&Self) -> Result<()>>(prefix: &str, test: F) -> Result<()> {
        let namespace = Self::create(&crate::client().await?, prefix).await?;
        let outcome = test(&namespace).await;
        let outcome = match outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(namespace.describe().await)),
        };
        let api = Api::<NamespaceObject>::all(namespace.client.clone());
        api.delete(&namespace.name, &DeleteParams::background()).await?;
        outcome
    }

    /// The API of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Applies a platform with that spec.
    pub async fn apply(&self, name: &str, spec: Value) -> Result<EventPlatform> {
        let object = json!({
            "apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform",
            "metadata": { "name": name, "namespace": self.name }, "spec": spec,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        Ok(self.api::<EventPlatform>().patch(name, &parameters, &Patch::Apply(&object)).await?)
    }

    /// Makes a Secret of strings, or replaces it.
    pub async fn secret(&self, name: &str, data: Value) -> Result<()> {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        self.api::<Secret>().patch(name, &parameters, &Patch::Apply(&object)).await?;
        Ok(())
    }

    /// Waits until the platform is Ready for its present spec.
    pub async fn ready(&self, name: &str) -> Result<EventPlatform> {
        self.becomes(name, "Ready", ConditionStatus::True, None, READY_LIMIT).await
    }

    /// Waits until a condition about the present spec has that status and, if given, reason.
    pub async fn becomes(
        &self,
        name: &str,
        type_: &str,
        status: ConditionStatus,
        reason: Option<&str>,
        limit: Duration,
    ) -> Result<EventPlatform> {
        let api = self.api::<EventPlatform>();
        wait::until(format!("{name} has {type_} {status:?} {}", reason.unwrap_or_default()), limit, async || {
            let platform = api.get(name).await?;
            let found = condition(&platform, type_).with_context(|| format!("no condition {type_} yet"))?;
            let current = found.observed_generation == platform.metadata.generation;
            let fits = found.status == status && reason.is_none_or(|reason| reason == found.reason);
            ensure!(current && fits, "it is {found:?}");
            Ok(platform)
        })
        .await
    }

    /// Waits until `check` holds for an object.
    pub async fn until<K>(&self, name: &str, limit: Duration, check: impl Fn(&K) -> bool) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>();
        wait::until(format!("{} {name} is as expected", K::kind(&())), limit, async || {
            let object = api.get(name).await?;
            ensure!(check(&object), "it is not");
            Ok(object)
        })
        .await
    }

    /// Waits until there is no object of that name.
    pub async fn gone<K>(&self, name: &str, limit: Duration) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>();
        wait::until(format!("{} {name} is gone", K::kind(&())), limit, async || {
            ensure!(api.get_opt(name).await?.is_none(), "it is still there");
            Ok(())
        })
        .await
    }

    /// The objects of a kind that belong to a platform.
    pub async fn children<K>(&self, name: &str) -> Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let selector = format!("app.kubernetes.io/instance={name}");
        Ok(self.api::<K>().list(&ListParams::default().labels(&selector)).await?.items)
    }

    /// The events that were recorded about a platform: reason and note.
    pub async fn events(&self, name: &str) -> Result<Vec<(String, String)>> {
        let events = self.api::<k8s_openapi::api::events::v1::Event>().list(&ListParams::default()).await?;
        let about = events
            .items
            .into_iter()
            .filter(|event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(name)));
        Ok(about.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect())
    }

    /// What a statement gives on the managed PostgreSQL of the platform `demo`, as psql prints it.
    pub async fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let command = ["psql", "-h", "127.0.0.1", "-U", "postgres", "-d", database, "-tAc", statement];
        let said = exec(&self.api::<Pod>(), "demo-postgres-0", &command).await?;
        ensure!(said.success, "{statement}: {}", said.stdout);
        Ok(said.stdout.trim().to_owned())
    }

    async fn describe(&self) -> String {
        let mut text = format!("in the namespace {}:\n", self.name);
        if let Ok(platforms) = self.api::<EventPlatform>().list(&ListParams::default()).await {
            for platform in platforms {
                for condition in platform.status.iter().flat_map(|status| &status.conditions) {
                    let PlatformCondition { type_, status, reason, message, .. } = condition;
                    let _ = writeln!(text, "  {}: {type_} {status:?} {reason}: {message}", platform.name_any());
                }
            }
        }
        if let Ok(pods) = self.api::<Pod>().list(&ListParams::default()).await {
            for pod in pods {
                let status = pod.status.clone().unwrap_or_default();
                let states = status.container_statuses.unwrap_or_default().into_iter();
                let states: Vec<String> = states
                    .map(|container| {
                        format!("ready {} restarts {} {:?}", container.ready, container.restart_count, container.state)
                    })
                    .collect();
                let _ = writeln!(text, "  {} {:?} {}", pod.name_any(), status.phase, states.join("; "));
            }
        }
        if let Ok(events) = self.api::<Event>().list(&ListParams::default()).await {
            for event in events.items.into_iter().filter(|event| event.type_.as_deref() == Some("Warning")) {
                let _ = writeln!(
                    text,
                    "  warning about {}: {}",
                    event.involved_object.name.unwrap_or_default(),
                    event.message.unwrap_or_default()
                );
            }
        }
        text
    }
}

/// A condition of a platform.
pub fn condition<'a>(platform: &'a EventPlatform, type_: &str) -> Option<&'a PlatformCondition> {
    platform.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// What a condition of a platform says; nothing where there is none.
pub fn message<'a>(platform: &'a EventPlatform, type_: &str) -> &'a str {
    condition(platform, type_).map_or("", |condition| &condition.message)
}
