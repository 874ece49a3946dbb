//! The chart: what the API server thinks of it, and an operator that looks after one namespace.

use anyhow::{Context, Result, ensure};
use cluster_tests::{client, run};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::{Api, ListParams};

const CHART: &str = "charts/eventplatform";

#[tokio::test]
async fn point_20_the_chart_is_clean_and_the_api_server_takes_it() -> Result<()> {
    run("helm", &["lint", "--strict", CHART], "").await?;
    // Helm cannot ask a cluster for its version while it only prints.
    let version = run("kubectl", &["version", "--output=json"], "").await?;
    let version: serde_json::Value = serde_json::from_str(&version)?;
    let version = version["serverVersion"]["gitVersion"].as_str().context("a server without a version")?;
    let template = ["template", "trial", CHART, "--namespace=default", "--skip-tests", "--kube-version", version];
    let check =
        ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--filename=-"];
    for values in ["platform.create=true,platform.name=trial", "operator.watchNamespace=default", "operator.replicas=1"]
    {
        let manifests = run("helm", &[&template[..], &["--set", values]].concat(), "").await?;
        run("kubectl", &check, &manifests).await?;
    }
    let wrong = run("helm", &[&template[..], &["--set", "operator.replicas=none"]].concat(), "").await;
    let said = wrong.err().context("values.schema.json let a wrong value pass")?.to_string();
    ensure!(said.contains("operator.replicas") || said.contains("/operator/replicas"), "{said}");
    Ok(())
}

#[tokio::test]
async fn point_11_no_rule_has_a_wildcard() -> Result<()> {
    let roles: Api<ClusterRole> = Api::all(client().await?);
    let ours = roles.list(&ListParams::default().labels("app.kubernetes.io/part-of=eventplatform")).await?.items;

    ensure!(!ours.is_empty(), "the operator has no role");
    for rule in ours.iter().flat_map(|role| role.rules.iter().flatten()) {
        let PolicyRule { api_groups, resources, verbs, .. } = rule;
        let all = [api_groups.as_ref(), resources.as_ref(), Some(verbs)];
        ensure!(!all.into_iter().flatten().flatten().any(|name| name == "*"), "{rule:?}");
    }
    Ok(())
}
