//! NetworkPolicies, with real traffic: every edge of the picture passes, every other pair of pods is cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cluster_tests::{Namespace, READY_LIMIT, client, exec, is_running};
use eventplatform_tests::wait;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::main_platform::{NAME, NAMESPACE, ready};

/// Components, as the pods' labels have them, and the ports they listen on.
const TARGETS: [(&str, &[u16]); 9] = [
    ("user", &[8080, 9090]),
    ("event", &[8080, 9090]),
    ("booking", &[8080, 9090]),
    ("notification", &[8080, 9090]),
    ("frontend", &[8080, 9090]),
    ("mock-gateway", &[8080, 9090]),
    ("postgres", &[5432]),
    ("mongodb", &[27017]),
    ("rabbitmq", &[5672, 15672]),
];

/// Every edge of the picture between pods of the platform.
const EDGES: [(&str, &str, u16); 18] = [
    ("user", "event", 8080),
    ("frontend", "event", 8080),
    ("booking", "event", 8080),
    ("booking", "mock-gateway", 8080),
    ("mock-gateway", "booking", 8080),
    ("event", "user", 8080),
    ("booking", "user", 8080),
    ("notification", "user", 8080),
    ("user", "postgres", 5432),
    ("booking", "postgres", 5432),
    ("mock-gateway", "postgres", 5432),
    ("event", "mongodb", 27017),
    ("notification", "mongodb", 27017),
    ("user", "rabbitmq", 5672),
    ("event", "rabbitmq", 5672),
    ("booking", "rabbitmq", 5672),
    ("notification", "rabbitmq", 5672),
    // Members of the set talk to each other.
    ("mongodb", "mongodb", 27017),
];

type Reached = BTreeSet<(String, String, u16)>;

#[tokio::test]
async fn point_15_exactly_the_edges_of_the_picture_pass() -> Result<()> {
    ready().await?;
    let client = client().await?;
    let platform = Namespace::existing(&client, NAMESPACE);
    let addresses = addresses(&platform).await?;
    let image = server_image(&platform).await?;

    let own = async |component: &str| reaches(&platform, &labels(component), component, &image, &addresses).await;
    let sources: Vec<&str> = TARGETS.iter().map(|(component, _)| *component).collect();
    let within = try_join_all(sources.iter().map(|component| own(component))).await?;
    let expected: Reached = EDGES.iter().map(|(from, to, port)| (from.to_string(), to.to_string(), *port)).collect();
    ensure_equal(&within.into_iter().flatten().collect(), &expected)?;

    // A pod beside the platform reaches nothing; one in another namespace the ways in, as an ingress controller does.
    let beside = reaches(&platform, &json!({ "app": "beside" }), "beside", &image, &addresses).await?;
    ensure_equal(&beside, &Reached::new())?;
    Namespace::with("network", async |other| {
        let reached = reaches(other, &json!({ "app": "ingress" }), "ingress", &image, &addresses).await?;
        let ways_in = ["user", "event", "booking", "notification", "frontend"];
        ensure_equal(&reached, &ways_in.iter().map(|to| ("ingress".to_owned(), (*to).to_owned(), 8080)).collect())
    })
    .await
}

fn ensure_equal(reached: &Reached, expected: &Reached) -> Result<()> {
    let open: Vec<_> = reached.difference(expected).collect();
    let shut: Vec<_> = expected.difference(reached).collect();
    ensure!(open.is_empty() && shut.is_empty(), "open but should not be: {open:?}; shut but should not be: {shut:?}");
    Ok(())
}

fn labels(component: &str) -> serde_json::Value {
    json!({
        "app.kubernetes.io/name": "eventplatform", "app.kubernetes.io/instance": NAME,
        "app.kubernetes.io/component": component, "app.kubernetes.io/managed-by": "eventplatform-operator",
    })
}

/// The address of one running pod of each component. Addresses rather than names: not every pod may ask for names.
async fn addresses(platform: &Namespace) -> Result<BTreeMap<&'static str, String>> {
    let pods = platform.children::<Pod>(NAME).await?;
    let address = |component: &str| {
        let of = |pod: &&Pod| {
            let labels = pod.metadata.labels.as_ref();
            let fits = labels.and_then(|labels| labels.get("app.kubernetes.io/component")).map(String::as_str);
            fits == Some(component) && is_running(pod)
        };
        let pod = pods.iter().find(of).with_context(|| format!("no pod of {component} runs"))?;
        pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("a pod without an address")
    };
    TARGETS.iter().map(|(component, _)| Ok((*component, address(component)?))).collect()
}

/// An image with a shell: PostgreSQL's.
async fn server_image(platform: &Namespace) -> Result<String> {
    let set = platform.api::<StatefulSet>().get(&format!("{NAME}-postgres")).await?;
    let pod = set.spec.template.spec.context("a set without a pod")?;
    pod.containers[0].image.clone().context("no image")
}

/// What a pod with these labels reaches, among the components' ports.
async fn reaches(
    namespace: &Namespace,
    labels: &serde_json::Value,
    from: &str,
    image: &str,
    addresses: &BTreeMap<&str, String>,
) -> Result<Reached> {
    let name = format!("probe-{from}");
    let pod = json!({
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "probe", "image": image, "command": ["sleep", "600"],
                // It bears the labels of a component, but must get none of its traffic.
                "readinessProbe": { "exec": { "command": ["false"] }, "periodSeconds": 300 },
                "resources": { "requests": { "cpu": "1m", "memory": "16Mi" } },
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    });
    let pods = namespace.api::<Pod>();
    pods.delete(&name, &DeleteParams::default()).await.ok();
    namespace.gone::<Pod>(&name, READY_LIMIT).await?;
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    namespace.until::<Pod>(&name, READY_LIMIT, is_running).await?;

    // The policies of a new pod take a moment to be in force; a wrong answer that stays is an answer.
    let mut last = try_all(namespace, &name, from, addresses).await?;
    let mut same = 0;
    let settled = wait::until("the answers stay the same", Duration::from_secs(60), async || {
        let now = try_all(namespace, &name, from, addresses).await?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        if same < 2 {
            bail!("they still change: {last:?}");
        }
        Ok(())
    });
    settled.await?;
    pods.delete(&name, &DeleteParams::default()).await?;
    Ok(last)
}

/// One round of connections, all at once.
async fn try_all(namespace: &Namespace, pod: &str, from: &str, addresses: &BTreeMap<&str, String>) -> Result<Reached> {
    let mut script = String::new();
    for (to, ports) in TARGETS {
        for port in ports {
            let address = &addresses[to];
            script.push_str(&format!(
                "(timeout 4 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo {to} {port}) &\n"
            ));
        }
    }
    script.push_str("wait\n");
    let said = exec(&namespace.api::<Pod>(), pod, &["bash", "-c", &script]).await?;
    let mut reached = Reached::new();
    for line in said.stdout.lines() {
        let (to, port) = line.split_once(' ').with_context(|| format!("unexpected: {line}"))?;
        reached.insert((from.to_owned(), to.to_owned(), port.parse()?));
    }
    Ok(reached)
}
