//! The chart: what the API server thinks of it, and an operator that looks after one namespace.

use anyhow::{Context, Result, ensure};
use cluster_tests::specs::small;
use cluster_tests::{Namespace, client, run};
use eventplatform_tests::wait;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::{Api, ListParams};

const CHART: &str = "charts/eventplatform";

#[tokio::test]
async fn point_20_the_chart_is_clean_and_the_api_server_takes_it() -> Result<()> {
    run("helm", &["lint", "--strict", CHART], "").await?;
    let everything = [
        "template",
        "eventplatform",
        CHART,
        "--namespace",
        "default",
        "--set",
        "platform.create=true,platform.name=trial",
    ];
    let manifests = run("helm", &everything, "").await?;
    run("kubectl", &["create", "--dry-run=server", "--validate=strict", "-f", "-", "--namespace=default"], &manifests)
        .await
        .or_else(|error| {
            // What the installed release has already is no fault of the chart.
            let said = error.to_string();
            let faults: Vec<&str> =
                said.lines().filter(|line| line.contains("rror") && !line.contains("AlreadyExists")).collect();
            if faults.is_empty() { Ok(said) } else { Err(error) }
        })?;
    let wrong = run("helm", &["template", "x", CHART, "--set", "operator.replicas=none"], "").await;
    ensure!(wrong.is_err(), "values.schema.json let a wrong value pass");
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
