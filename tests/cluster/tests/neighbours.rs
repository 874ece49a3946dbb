//! Platforms side by side.

use anyhow::{Result, ensure};
use cluster_tests::specs::{small, with};
use cluster_tests::{Namespace, is_running};
use eventplatform_operator::crd::EventPlatform;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::DeleteParams;

#[tokio::test]
async fn point_19_two_platforms_in_one_namespace_do_not_touch_each_other() -> Result<()> {
    Namespace::with("neighbours", async |namespace| {
        // The second one's name begins with the first one's: names of children must not meet.
        namespace.apply("a", small()).await?;
        namespace.apply("a-user", with(small(), "/deletion/policy", "Delete")).await?;
        namespace.ready("a").await?;
        namespace.ready("a-user").await?;
        let before = (objects(namespace).await?, restarts(namespace).await?);

        namespace.api::<EventPlatform>().delete("a-user", &DeleteParams::foreground()).await?;
        namespace.gone::<EventPlatform>("a-user", cluster_tests::READY_LIMIT).await?;

        namespace.ready("a").await?;
        let after = (objects(namespace).await?, restarts(namespace).await?);
        ensure!(before == after, "before {before:?}\nafter {after:?}");
        Ok(())
    })
    .await
}

/// Every Deployment and Secret of the first platform, with its identity and generation.
async fn objects(namespace: &Namespace) -> Result<Vec<(String, Option<String>, Option<i64>)>> {
    let identity = |metadata: &kube::core::ObjectMeta, name: String| (name, metadata.uid.clone(), metadata.generation);
    let deployments = namespace.children::<Deployment>("a").await?;
    let secrets = namespace.children::<Secret>("a").await?;
    let deployments = deployments.iter().map(|object| identity(&object.metadata, object.name_any()));
    Ok(deployments.chain(secrets.iter().map(|object| identity(&object.metadata, object.name_any()))).collect())
}

async fn restarts(namespace: &Namespace) -> Result<Vec<(String, i32)>> {
    let pods = namespace.children::<Pod>("a").await?.into_iter();
    Ok(pods
        .filter(is_running)
        .map(|pod| {
            let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            (pod.name_any(), containers.map(|container| container.restart_count).sum())
        })
        .collect())
}
