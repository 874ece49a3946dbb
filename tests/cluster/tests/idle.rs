//! Nothing is written while nothing happens.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use cluster_tests::{Namespace, client};
use eventplatform_operator::crd::EventPlatform;
use eventplatform_operator::resource::FIELD_MANAGER;
use futures::FutureExt;
use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use tokio::time::{Instant, timeout_at};

use crate::main_platform::{NAME, NAMESPACE, ready};

const IDLE: Duration = Duration::from_secs(300);

/// The last writes of the operator to an object. A write that changes nothing leaves no trace, nor an update.
fn writes(metadata: &kube::core::ObjectMeta) -> Vec<String> {
    let entries = metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.manager.as_deref().is_some_and(|manager| manager.starts_with(FIELD_MANAGER)))
        .map(|entry| format!("{:?} {:?}", entry.subresource, entry.time))
        .collect()
}

/// Watches all objects of a kind; returns what the operator wrote in the meantime.
async fn changes<K>(namespace: &Namespace, end: Instant) -> Vec<String>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + Send + 'static,
    K: serde::de::DeserializeOwned,
{
    use futures::StreamExt;

    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut changed = Vec::new();
    let selector = watcher::Config::default();
    let stream = watcher(namespace.api::<PartialObjectMeta<K>>(), selector).default_backoff();
    let mut stream = std::pin::pin!(stream);
    while let Ok(Some(event)) = timeout_at(end, stream.next()).await {
        let object: PartialObjectMeta<K> = match event {
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => object,
            _ => continue,
        };
        let name = object.name_any();
        let now = writes(&object.metadata);
        match known.insert(name.clone(), now.clone()) {
            Some(before) if before != now => changed.push(format!("{} {name}: {before:?} → {now:?}", K::kind(&()))),
            _ => {}
        }
    }
    changed
}

#[tokio::test]
async fn point_2_five_idle_minutes_pass_without_a_write() -> Result<()> {
    ready().await?;
    let namespace = Namespace::existing(&client().await?, NAMESPACE);
    let resource_version =
        async || -> Result<_> { Ok(namespace.api::<EventPlatform>().get(NAME).await?.metadata.resource_version) };
    let before = resource_version().await?;

    let end = Instant::now() + IDLE;
    let watches = [
        changes::<EventPlatform>(&namespace, end).boxed(),
        changes::<Deployment>(&namespace, end).boxed(),
        changes::<StatefulSet>(&namespace, end).boxed(),
        changes::<Service>(&namespace, end).boxed(),
        changes::<ConfigMap>(&namespace, end).boxed(),
        changes::<Secret>(&namespace, end).boxed(),
        changes::<Job>(&namespace, end).boxed(),
        changes::<Ingress>(&namespace, end).boxed(),
        changes::<NetworkPolicy>(&namespace, end).boxed(),
    ];
    let changed = join_all(watches).await.concat();

    ensure!(changed.is_empty(), "the operator wrote: {changed:#?}");
    ensure!(resource_version().await? == before, "the resource was written");
    Ok(())
}
