//! Pausing, stopping, deleting and coming back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::specs::{small, with};
use cluster_tests::{Namespace, READY_LIMIT, REPAIR_LIMIT, is_running};
use eventplatform_operator::crd::{ConditionStatus, EventPlatform};
use eventplatform_tests::wait;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};

async fn secrets(namespace: &Namespace) -> Result<Vec<(String, String)>> {
    let selector = ListParams::default().labels("app.kubernetes.io/instance=demo");
    let secrets = namespace.api::<Secret>().list(&selector).await?.items.into_iter();
    let made_up = secrets.filter(|secret| secret.owner_references().is_empty());
    Ok(made_up.map(|secret| (secret.name_any(), format!("{:?}", secret.data))).collect())
}

#[tokio::test]
async fn points_3_5_and_17_paused_stopped_deleted_and_back_with_data_and_credentials() -> Result<()> {
    Namespace::with("lifecycle", async |namespace| {
        namespace.apply("demo", small()).await?;
        namespace.ready("demo").await?;
        // A table that only a test knows of shows whether the data is still the same.
        namespace.sql("bookings", "create table kept (what text); insert into kept values ('this')").await?;
        let credentials = secrets(namespace).await?;
        ensure!(
            credentials.len() >= 4,
            "credentials: {:?}",
            credentials.iter().map(|(name, _)| name).collect::<Vec<_>>()
        );

        paused(namespace).await.context("Paused")?;
        stopped(namespace).await.context("Stopped")?;
        retained(namespace).await.context("Retain")?;
        ensure!(namespace.sql("bookings", "select what from kept").await? == "this", "the data is gone");
        ensure!(secrets(namespace).await? == credentials, "credentials changed");
        deleted(namespace).await.context("Delete")
    })
    .await
}

/// Nothing but the status is written: a child that somebody deletes stays away until the platform goes on.
async fn paused(namespace: &Namespace) -> Result<()> {
    namespace.apply("demo", with(small(), "/management", "Paused")).await?;
    namespace.becomes("demo", "Paused", ConditionStatus::True, None, REPAIR_LIMIT).await?;
    namespace.api::<Service>().delete("demo-frontend", &DeleteParams::default()).await?;
    // A change of the spec makes the operator look; that it has looked shows in the status.
    namespace.apply("demo", with(with(small(), "/management", "Paused"), "/services/user/logLevel", "debug")).await?;
    namespace.becomes("demo", "Paused", ConditionStatus::True, None, REPAIR_LIMIT).await?;
    ensure!(namespace.api::<Service>().get_opt("demo-frontend").await?.is_none(), "it was written while Paused");

    namespace.apply("demo", small()).await?;
    namespace.until::<Service>("demo-frontend", REPAIR_LIMIT, |_| true).await?;
    namespace.ready("demo").await.map(drop)
}

async fn stopped(namespace: &Namespace) -> Result<()> {
    namespace.apply("demo", with(small(), "/management", "Stopped")).await?;
    wait::until("no pod runs", READY_LIMIT, async || {
        let selector = ListParams::default().labels("app.kubernetes.io/instance=demo");
        let pods = namespace.api::<Pod>().list(&selector).await?.items;
        let left: Vec<String> = pods.iter().filter(|pod| is_running(pod)).map(ResourceExt::name_any).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await?;
    namespace.apply("demo", small()).await?;
    namespace.ready("demo").await.map(drop)
}

async fn retained(namespace: &Namespace) -> Result<()> {
    namespace.api::<EventPlatform>().delete("demo", &DeleteParams::default()).await?;
    namespace.gone::<EventPlatform>("demo", READY_LIMIT).await?;
    wait::until("the pods are gone", READY_LIMIT, async || {
        ensure!(namespace.children::<Pod>("demo").await?.is_empty(), "some are left");
        ensure!(namespace.children::<StatefulSet>("demo").await?.is_empty(), "some are left");
        Ok(())
    })
    .await?;
    ensure!(namespace.children::<PersistentVolumeClaim>("demo").await?.len() == 3, "volumes are gone");
    namespace.apply("demo", small()).await?;
    namespace.ready("demo").await.map(drop)
}

async fn deleted(namespace: &Namespace) -> Result<()> {
    namespace.apply("demo", with(small(), "/deletion/policy", "Delete")).await?;
    namespace.ready("demo").await?;
    namespace.api::<EventPlatform>().delete("demo", &DeleteParams::default()).await?;
    wait::until("nothing is left", Duration::from_secs(180), async || {
        let left = [
            names::<Pod>(namespace).await?,
            names::<Deployment>(namespace).await?,
            names::<StatefulSet>(namespace).await?,
            names::<Service>(namespace).await?,
            names::<ConfigMap>(namespace).await?,
            names::<Secret>(namespace).await?,
            names::<NetworkPolicy>(namespace).await?,
            names::<PersistentVolumeClaim>(namespace).await?,
        ]
        .concat();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

async fn names<K>(namespace: &Namespace) -> Result<Vec<String>>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    Ok(namespace.children::<K>("demo").await?.iter().map(ResourceExt::name_any).collect())
}
