//! An operator that looks after one namespace. `make test-cluster` installs it once the cluster-wide one is gone.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use anyhow::{Context, Result, ensure};
use cluster_tests::specs::small;
use cluster_tests::{Namespace, READY_LIMIT, REPAIR_LIMIT, client, condition};
use eventplatform_operator::crd::{ConditionStatus, EventPlatform};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

/// The namespace that the operator was told to watch.
const WATCHED: &str = "only";
const RELEASE: &str = "single-operator";

#[tokio::test]
async fn point_11_one_namespace_is_enough_and_a_missing_permission_is_named() -> Result<()> {
    let client = client().await?;
    let roles = Api::<ClusterRole>::all(client.clone());
    let ours = ListParams::default().labels("app.kubernetes.io/part-of=eventplatform");
    ensure!(roles.list(&ours).await?.items.is_empty(), "a ClusterRole in namespaced mode");

    let watched = Namespace::existing(&client, WATCHED);
    watched.apply("demo", small()).await?;
    watched.ready("demo").await?;
    let elsewhere = Namespace::create(&client, "elsewhere").await?;
    elsewhere.apply("demo", small()).await?;

    let role: Api<Role> = Api::namespaced(client.clone(), WATCHED);
    let whole = role.get(RELEASE).await?;
    let rules = whole.rules.clone().context("a role without rules")?;
    let mut but_services = rules.clone();
    for resources in but_services.iter_mut().filter_map(|rule| rule.resources.as_mut()) {
        resources.retain(|resource| resource != "services");
    }
    ensure!(but_services != rules, "no rule names services: {rules:?}");
    let set = async |rules: &[_]| {
        role.patch(RELEASE, &PatchParams::default(), &Patch::Merge(json!({ "rules": rules }))).await
    };
    set(&but_services).await?;
    watched.api::<Service>().delete("demo-user", &DeleteParams::default()).await?;
    let forbidden = Some("Forbidden");
    let platform = watched.becomes("demo", "Degraded", ConditionStatus::True, forbidden, REPAIR_LIMIT * 3).await?;
    let said = condition(&platform, "Degraded").map(|condition| condition.message.clone()).unwrap_or_default();
    ensure!(said.contains("services"), "{said}");

    set(&rules).await?;
    watched.until::<Service>("demo-user", READY_LIMIT, |_| true).await?;
    watched.ready("demo").await?;
    let other = elsewhere.api::<EventPlatform>().get("demo").await?;
    ensure!(other.status.is_none(), "the operator touched another namespace");
    Ok(())
}
