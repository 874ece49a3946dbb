//! An operator that looks after one namespace, and one that crashes after every write. `make test-cluster` installs the
//! first once the cluster-wide one is gone; the second is started here, with the same rights in another namespace.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use cluster_tests::specs::small;
use cluster_tests::{Namespace, READY_LIMIT, REPAIR_LIMIT, client, condition, message, variable};
use eventplatform_operator::crd::{ConditionStatus, EventPlatform};
use eventplatform_tests::wait;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

/// The namespace that the operator was told to watch.
const WATCHED: &str = "only";
const RELEASE: &str = "single-operator";
const RELEASE_NAMESPACE: &str = "eventplatform-single";

/// The platform that the tests here share, Ready.
async fn watched(client: &Client) -> Result<Namespace> {
    let watched = Namespace::existing(client, WATCHED);
    watched.apply("demo", small()).await?;
    watched.ready("demo").await?;
    Ok(watched)
}

#[tokio::test]
async fn point_11_one_namespace_is_enough_and_a_missing_permission_is_named() -> Result<()> {
    let client = client().await?;
    let roles = Api::<ClusterRole>::all(client.clone());
    let ours = ListParams::default().labels("app.kubernetes.io/part-of=eventplatform");
    ensure!(roles.list(&ours).await?.items.is_empty(), "a ClusterRole in namespaced mode");

    let watched = watched(&client).await?;
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
    let said = message(&platform, "Degraded");
    ensure!(said.contains("services"), "{said}");

    set(&rules).await?;
    watched.until::<Service>("demo-user", READY_LIMIT, |_| true).await?;
    watched.ready("demo").await?;
    let other = elsewhere.api::<EventPlatform>().get("demo").await?;
    ensure!(other.status.is_none(), "the operator touched another namespace");
    Ok(())
}

#[tokio::test]
async fn point_4_a_crash_after_every_single_write_ends_in_the_same_platform() -> Result<()> {
    let client = client().await?;
    let usual = Namespace::existing(&client, WATCHED);
    Namespace::with("crashing", async |namespace| {
        start_crashing_operator(&client, namespace).await?;
        namespace.apply("demo", small()).await?;
        // Not the limit of an operator that goes on: this one starts anew some sixty times.
        let passwords =
            wait::until("there are credentials", READY_LIMIT, async || credentials(namespace).await).await?;
        wait::until("the platform is Ready", READY_LIMIT * 2, async || {
            let platform = namespace.api::<EventPlatform>().get("demo").await?;
            let ready = condition(&platform, "Ready").context("no condition yet")?;
            ensure!(ready.status == ConditionStatus::True, "{}: {}", ready.reason, ready.message);
            Ok(())
        })
        .await?;

        let said = namespace.api::<Pod>().logs("operator", &LogParams::default()).await?;
        let crashes = said.lines().filter(|line| line.starts_with("written: ")).count();
        ensure!(crashes >= 40, "it crashed after {crashes} writes only:\n{said}");
        println!("the operator crashed after each of {crashes} writes");
        watched(&client).await?;
        // The other test takes one of its Services away for a while.
        wait::until("it is the same platform as without crashes", READY_LIMIT, async || {
            let (crashed, usual) = (children(namespace).await?, children(&usual).await?);
            ensure!(crashed == usual, "{crashed:?}\n{usual:?}");
            Ok(())
        })
        .await?;
        let now = credentials(namespace).await?;
        for (name, data) in &passwords {
            ensure!(now.get(name) == Some(data), "{name} changed");
        }
        Ok(())
    })
    .await
}

/// Starts the operator that crashes, as the chart starts the usual one: with the same settings and rights.
async fn start_crashing_operator(client: &Client, namespace: &Namespace) -> Result<()> {
    let role = Api::<Role>::namespaced(client.clone(), WATCHED).get(RELEASE).await?;
    let usual = Api::<Deployment>::namespaced(client.clone(), RELEASE_NAMESPACE).get(RELEASE).await?;
    let mut pod = serde_json::to_value(usual.spec.template)?;
    let container = &mut pod["spec"]["containers"][0];
    for probe in ["livenessProbe", "readinessProbe"] {
        container[probe].take();
    }
    container["args"] = json!([]);
    container["image"] = variable("CRASHING_IMAGE")?.into();
    let variables = container["env"].as_array_mut().context("no env")?;
    let watched = variables.iter_mut().find(|variable| variable["name"] == "WATCH_NAMESPACE");
    watched.context("no WATCH_NAMESPACE")?["value"] = namespace.name.clone().into();
    pod["metadata"]["name"] = "operator".into();
    let subject = json!({ "kind": "ServiceAccount", "name": RELEASE, "namespace": namespace.name });
    let binding = json!({
        "metadata": { "name": RELEASE }, "subjects": [subject],
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": RELEASE },
    });
    create::<ServiceAccount>(namespace, json!({ "metadata": { "name": RELEASE } })).await?;
    create::<Role>(namespace, json!({ "metadata": { "name": RELEASE }, "rules": role.rules })).await?;
    create::<RoleBinding>(namespace, binding).await?;
    create::<Pod>(namespace, pod).await
}

async fn create<K>(namespace: &Namespace, object: Value) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug,
    K: serde::Serialize + serde::de::DeserializeOwned,
{
    namespace.api::<K>().create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(())
}

/// The data of the made-up credentials, once there are any.
async fn credentials(namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    let secrets = namespace.children::<Secret>("demo").await?;
    ensure!(!secrets.is_empty(), "none yet");
    Ok(secrets.iter().map(|secret| (secret.name_any(), format!("{:?}", secret.data))).collect())
}

/// Kinds and names of what the platform is made of. Names of Jobs end in a hash, of passwords too.
async fn children(namespace: &Namespace) -> Result<Vec<String>> {
    async fn of<K>(namespace: &Namespace) -> Result<Vec<String>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug,
        K: serde::de::DeserializeOwned,
    {
        let name = |object: &K| object.name_any().split_once("-migrate-").map(|(job, _)| job.to_owned());
        let children = namespace.children::<K>("demo").await?;
        Ok(children
            .iter()
            .map(|child| format!("{} {}", K::kind(&()), name(child).unwrap_or(child.name_any())))
            .collect())
    }
    let mut all = [
        of::<ConfigMap>(namespace).await?,
        of::<Deployment>(namespace).await?,
        of::<Job>(namespace).await?,
        of::<NetworkPolicy>(namespace).await?,
        of::<Secret>(namespace).await?,
        of::<Service>(namespace).await?,
        of::<StatefulSet>(namespace).await?,
    ]
    .concat();
    all.sort();
    Ok(all)
}
