//! Bad moments: everything comes back to Ready without hands, and what was running goes on running meanwhile.

use anyhow::{Context, Result, ensure};
use cluster_tests::specs::{small, with};
use cluster_tests::{Namespace, READY_LIMIT, REPAIR_LIMIT, message};
use eventplatform_operator::crd::ConditionStatus;
use eventplatform_tests::wait;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

const OPERATOR_NAMESPACE: &str = "eventplatform-system";

#[tokio::test]
async fn points_7_9_and_13_trouble_passes_without_hands() -> Result<()> {
    Namespace::with("trouble", async |namespace| {
        namespace.secret("admin", json!({ "email": "root@example.org", "password": "a long enough password" })).await?;
        let spec = with(small(), "/admin", json!({ "credentialsSecretRef": { "name": "admin" } }));
        namespace.apply("demo", spec.clone()).await?;
        namespace.ready("demo").await?;

        repairs(namespace).await.context("point 7")?;
        wrong_images(namespace, &spec).await.context("point 9")?;
        failed_migration(namespace, &spec).await.context("point 8")?;
        references(namespace).await.context("point 13")?;
        lost_credential(namespace).await.context("a credential lost")?;
        missing_login(namespace).await.context("a login missing")?;
        scaling(namespace, &spec).await.context("point 16")?;
        killed_pods(namespace).await.context("killed pods")
    })
    .await
}

/// A child deleted or an owned field edited is restored within 30 s, with an event.
async fn repairs(namespace: &Namespace) -> Result<()> {
    namespace.api::<Service>().delete("demo-user", &DeleteParams::default()).await?;
    namespace.until::<Service>("demo-user", REPAIR_LIMIT, |_| true).await?;
    let edit = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    namespace.api::<Deployment>().patch("demo-event", &PatchParams::default(), &edit).await?;
    let restored = |deployment: &Deployment| deployment.spec.replicas == Some(1);
    namespace.until::<Deployment>("demo-event", REPAIR_LIMIT, restored).await?;
    wait::until("both repairs are events", REPAIR_LIMIT, async || {
        let events = namespace.events("demo").await?;
        for name in ["demo-user", "demo-event"] {
            let told = |(reason, note): &(String, String)| reason == "Restored" && note.contains(name);
            ensure!(events.iter().any(told), "none about {name}: {events:?}");
        }
        Ok(())
    })
    .await?;
    namespace.ready("demo").await.map(drop)
}

/// The pods that serve, with their identity: a pod made anew has another one.
async fn serving(namespace: &Namespace, component: &str) -> Result<Vec<(String, Option<String>)>> {
    let selector = format!("app.kubernetes.io/instance=demo,app.kubernetes.io/component={component}");
    let pods = namespace.api::<Pod>().list(&ListParams::default().labels(&selector)).await?.items.into_iter();
    let ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    Ok(pods.filter(ready).map(|pod| (pod.name_any(), pod.metadata.uid)).collect())
}

/// A bad image leaves old pods serving; putting it right recovers, stuck pods of StatefulSets included.
async fn wrong_images(namespace: &Namespace, spec: &Value) -> Result<()> {
    // booking-service waits for its migration, the frontend has none.
    let before = (serving(namespace, "booking").await?, serving(namespace, "frontend").await?);
    let still = async || anyhow::Ok((serving(namespace, "booking").await?, serving(namespace, "frontend").await?));
    namespace.apply("demo", with(spec.clone(), "/image/tag", "no-such-tag")).await?;
    namespace.becomes("demo", "Ready", ConditionStatus::False, None, REPAIR_LIMIT).await?;
    let available = namespace.becomes("demo", "Available", ConditionStatus::True, None, REPAIR_LIMIT).await?;
    ensure!(still().await? == before, "old pods went: {:?}", available.status);
    namespace.apply("demo", spec.clone()).await?;
    namespace.ready("demo").await?;
    ensure!(still().await? == before, "pods were replaced for nothing");

    let bad = with(spec.clone(), "/rabbitmq/managed/image", "localhost/eventplatform/no-such-image:1");
    namespace.apply("demo", bad).await?;
    let stuck = |pod: &Pod| {
        let status = pod.status.clone().unwrap_or_default();
        let all = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
        all.into_iter().any(|container| {
            let waiting = container.state.and_then(|state| state.waiting).and_then(|waiting| waiting.reason);
            waiting.is_some_and(|reason| reason.contains("Image"))
        })
    };
    namespace.until::<Pod>("demo-rabbitmq-0", READY_LIMIT, stuck).await?;
    namespace.apply("demo", spec.clone()).await?;
    namespace.ready("demo").await.map(drop)
}

/// A failed migration leaves the old version serving and says why.
async fn failed_migration(namespace: &Namespace, spec: &Value) -> Result<()> {
    let before = serving(namespace, "booking").await?;
    let broken =
        json!([{ "name": "SSL_CERT_FILE", "value": "/nowhere" }, { "name": "HOLD_SECONDS", "value": "never" }]);
    namespace.apply("demo", with(spec.clone(), "/services/booking/env", broken)).await?;
    let failed = Some("MigrationFailed");
    let platform = namespace.becomes("demo", "SchemaCurrent", ConditionStatus::False, failed, READY_LIMIT).await?;
    let said = message(&platform, "SchemaCurrent");
    ensure!(said.contains("invalid value 'never'") && said.contains("HOLD_SECONDS"), "{said}");
    ensure!(serving(namespace, "booking").await? == before, "the old version went");
    namespace.apply("demo", spec.clone()).await?;
    namespace.ready("demo").await.map(drop)
}

/// A changed Secret rolls only its consumers; an absent one is a condition.
async fn references(namespace: &Namespace) -> Result<()> {
    let (user, booking) = (serving(namespace, "user").await?, serving(namespace, "booking").await?);
    namespace.secret("admin", json!({ "email": "root@example.org", "password": "quite another password" })).await?;
    wait::until("user-service is rolled", READY_LIMIT, async || {
        let now = serving(namespace, "user").await?;
        ensure!(now.len() == 1 && now != user, "it is not yet: {now:?}");
        Ok(())
    })
    .await?;
    namespace.ready("demo").await?;
    ensure!(serving(namespace, "booking").await? == booking, "booking-service was rolled too");

    let user = serving(namespace, "user").await?;
    let secret = namespace.api::<Secret>().get("admin").await?;
    namespace.api::<Secret>().delete("admin", &DeleteParams::default()).await?;
    let missing = Some("ReferenceMissing");
    let platform = namespace.becomes("demo", "Degraded", ConditionStatus::True, missing, REPAIR_LIMIT).await?;
    let said = message(&platform, "Degraded");
    ensure!(said.contains("admin"), "{said}");
    ensure!(serving(namespace, "user").await? == user, "its pods went");
    restore(namespace, secret).await?;
    namespace.ready("demo").await.map(drop)
}

/// A credential emptied: pods keep serving, Degraded names it, nothing is regenerated, restoring it recovers.
async fn lost_credential(namespace: &Namespace) -> Result<()> {
    let name = "demo-postgres-credentials";
    let before = serving(namespace, "booking").await?;
    let secret = namespace.api::<Secret>().get(name).await?;
    let empty = Patch::Json::<()>(serde_json::from_value(json!([{ "op": "remove", "path": "/data" }]))?);
    namespace.api::<Secret>().patch(name, &PatchParams::default(), &empty).await?;
    let lost = Some("CredentialLost");
    let platform = namespace.becomes("demo", "Degraded", ConditionStatus::True, lost, REPAIR_LIMIT).await?;
    let said = message(&platform, "Degraded");
    ensure!(said.contains(name), "{said}");
    ensure!(serving(namespace, "booking").await? == before, "its pods went");
    ensure!(namespace.api::<Secret>().get(name).await?.data.is_none_or(|data| data.is_empty()), "it was regenerated");
    let data = Patch::Merge(json!({ "data": secret.data }));
    namespace.api::<Secret>().patch(name, &PatchParams::default(), &data).await?;
    namespace.ready("demo").await.map(drop)
}

/// The Secret of an older release lacks a login: it is added, and RabbitMQ has it before user-service uses it.
async fn missing_login(namespace: &Namespace) -> Result<()> {
    let name = "demo-rabbitmq-credentials";
    let before = namespace.api::<Secret>().get(name).await?.data.unwrap_or_default();
    let user = serving(namespace, "user").await?;
    let remove = Patch::Merge(json!({ "data": { "user-password": null } }));
    namespace.api::<Secret>().patch(name, &PatchParams::default(), &remove).await?;
    let has_another = |secret: &Secret| {
        let password = secret.data.as_ref().and_then(|data| data.get("user-password"));
        password.is_some_and(|password| Some(password) != before.get("user-password"))
    };
    namespace.until::<Secret>(name, REPAIR_LIMIT, has_another).await?;
    let mut after = namespace.api::<Secret>().get(name).await?.data.unwrap_or_default();
    after.extend(before.get_key_value("user-password").map(|(key, value)| (key.clone(), value.clone())));
    ensure!(after == before, "other keys changed");
    wait::until("user-service is rolled", READY_LIMIT, async || {
        let now = serving(namespace, "user").await?;
        ensure!(now.len() == 1 && now != user, "it is not yet: {now:?}");
        Ok(())
    })
    .await?;
    namespace.ready("demo").await.map(drop)
}

async fn restore(namespace: &Namespace, mut secret: Secret) -> Result<()> {
    secret.metadata.resource_version = None;
    secret.metadata.uid = None;
    secret.metadata.managed_fields = None;
    namespace.api::<Secret>().create(&kube::api::PostParams::default(), &secret).await?;
    Ok(())
}

/// A budget only with two or more pods. Under autoscaling the operator leaves `replicas` alone.
async fn scaling(namespace: &Namespace, spec: &Value) -> Result<()> {
    ensure!(namespace.children::<PodDisruptionBudget>("demo").await?.is_empty(), "a budget for single pods");
    let two = with(spec.clone(), "/services/frontend/replicas", 2);
    namespace.apply("demo", two).await?;
    namespace.ready("demo").await?;
    let budgets = namespace.children::<PodDisruptionBudget>("demo").await?;
    ensure!(budgets.len() == 1 && budgets[0].name_any() == "demo-frontend", "{budgets:?}");

    let automatic = with(spec.clone(), "/services/frontend/autoscaling", json!({ "minReplicas": 1, "maxReplicas": 4 }));
    namespace.apply("demo", automatic).await?;
    namespace.until::<HorizontalPodAutoscaler>("demo-frontend", REPAIR_LIMIT, |_| true).await?;
    namespace.ready("demo").await?;
    let replicas =
        async || -> Result<_> { Ok(namespace.api::<Deployment>().get("demo-frontend").await?.spec.replicas) };
    ensure!(replicas().await? == Some(2), "the switch changed the number of pods: {:?}", replicas().await?);
    let scale = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    namespace.api::<Deployment>().patch_scale("demo-frontend", &PatchParams::default(), &scale).await?;
    // The operator has looked when it has restored something else.
    namespace.api::<Service>().delete("demo-frontend", &DeleteParams::default()).await?;
    namespace.until::<Service>("demo-frontend", REPAIR_LIMIT, |_| true).await?;
    ensure!(replicas().await? == Some(3), "the operator wrote replicas: {:?}", replicas().await?);
    namespace.apply("demo", spec.clone()).await?;
    namespace.ready("demo").await.map(drop)
}

/// The database's pod and the leading operator, killed.
async fn killed_pods(namespace: &Namespace) -> Result<()> {
    let operators: Api<Pod> = Api::namespaced(cluster_tests::client().await?, OPERATOR_NAMESPACE);
    let now = DeleteParams::default().grace_period(0);
    let before = serving(namespace, "postgres").await?;
    let old = namespace.api::<StatefulSet>().get("demo-mongodb").await?.uid();
    namespace.api::<Pod>().delete("demo-postgres-0", &now).await?;
    operators.delete_collection(&now, &ListParams::default()).await?;
    namespace.api::<StatefulSet>().delete("demo-mongodb", &DeleteParams::default()).await?;
    let is_back = |set: &StatefulSet| {
        set.uid() != old && set.status.as_ref().is_some_and(|status| status.ready_replicas == Some(1))
    };
    namespace.until::<StatefulSet>("demo-mongodb", READY_LIMIT, is_back).await?;
    wait::until("another pod of PostgreSQL serves", READY_LIMIT, async || {
        let now = serving(namespace, "postgres").await?;
        ensure!(now.len() == 1 && now != before, "{now:?}");
        Ok(())
    })
    .await?;
    namespace.ready("demo").await.map(drop)
}
