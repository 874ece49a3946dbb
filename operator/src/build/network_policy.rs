//! NetworkPolicies: everything is denied in both directions but the edges of the picture in `docs/architecture.md`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    build::{
        Blueprint, Program, job,
        program::{ADMIN_PORT, HTTP_PORT},
    },
    child::{Child, Kind, MANAGED_BY},
    crd::{PaymentProvider, Peer},
};

/// Name by which the operator's pods are labelled, wherever the chart has put them.
const OPERATOR_NAME: &str = "eventplatform-operator";

/// The rules of one component, gathered edge by edge.
#[derive(Default)]
struct Rules {
    ingress: Vec<Value>,
    egress: Vec<Value>,
}

/// One policy that denies everything to every pod of the platform, and one for each component that lets its edges through.
pub fn network_policies(blueprint: &Blueprint<'_>) -> Vec<Child> {
    let mut rules: BTreeMap<String, Rules> = BTreeMap::new();
    for program in blueprint.programs() {
        from_outside(blueprint, program, &mut rules);
        to_servers(blueprint, program, program.name(), true, &mut rules);
        if program.migrates() {
            to_servers(blueprint, program, &job::component(program), false, &mut rules);
        }
    }
    between_programs(blueprint, &mut rules);
    within_servers(blueprint, &mut rules);
    let mut policies = vec![deny_all(blueprint)];
    policies.extend(rules.into_iter().map(|(component, rules)| policy(blueprint, &component, rules)));
    policies
}

/// Ingress controller and metrics scraper.
fn from_outside(blueprint: &Blueprint<'_>, program: Program, rules: &mut BTreeMap<String, Rules>) {
    let policy = &blueprint.spec.network_policy;
    let rules = rules.entry(program.name().to_owned()).or_default();
    if program != Program::MockGateway {
        let from = if policy.ingress_from.is_empty() {
            vec![other_namespaces(blueprint)]
        } else {
            policy.ingress_from.iter().map(peer).collect()
        };
        rules.ingress.push(json!({ "from": from, "ports": [tcp(HTTP_PORT)] }));
    }
    if !policy.metrics_from.is_empty() {
        let from: Vec<Value> = policy.metrics_from.iter().map(peer).collect();
        rules.ingress.push(json!({ "from": from, "ports": [tcp(ADMIN_PORT)] }));
    }
}

/// A program, or its migration, and the servers it uses. Messages are only for the program itself.
fn to_servers(
    blueprint: &Blueprint<'_>,
    program: Program,
    component: &str,
    messages: bool,
    rules: &mut BTreeMap<String, Rules>,
) {
    let spec = blueprint.spec;
    if program.uses_postgres() {
        match &spec.postgres.external {
            None => edge(blueprint, component, "postgres", 5432, rules),
            Some(external) => elsewhere(component, external.port, rules),
        }
    }
    if program.uses_mongodb() {
        match &spec.mongodb.external {
            None => edge(blueprint, component, "mongodb", 27017, rules),
            Some(external) => external.hosts.iter().for_each(|host| elsewhere(component, port_of(host), rules)),
        }
    }
    if messages && program.uses_rabbitmq() {
        match &spec.rabbitmq.external {
            None => edge(blueprint, component, "rabbitmq", 5672, rules),
            Some(external) => elsewhere(component, external.port, rules),
        }
    }
}

fn port_of(host: &str) -> i32 {
    host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(27017)
}

fn between_programs(blueprint: &Blueprint<'_>, rules: &mut BTreeMap<String, Rules>) {
    let mut edges = vec![
        (Program::User, Program::Event),
        (Program::Frontend, Program::Event),
        (Program::Booking, Program::Event),
        (Program::Event, Program::User),
        (Program::Booking, Program::User),
        (Program::Notification, Program::User),
    ];
    match blueprint.spec.payments.provider {
        PaymentProvider::Mock => {
            edges.extend([(Program::Booking, Program::MockGateway), (Program::MockGateway, Program::Booking)]);
        }
        PaymentProvider::Stripe => elsewhere(Program::Booking.name(), 443, rules),
    }
    for (from, to) in edges {
        edge(blueprint, from.name(), to.name(), HTTP_PORT, rules);
    }
}

/// The operator, which looks after the servers, and the members of a server among themselves.
fn within_servers(blueprint: &Blueprint<'_>, rules: &mut BTreeMap<String, Rules>) {
    let spec = blueprint.spec;
    let operator = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": blueprint.settings.pod_namespace } },
        "podSelector": { "matchLabels": { "app.kubernetes.io/name": OPERATOR_NAME } },
    });
    let servers = [
        ("postgres", spec.postgres.managed.is_some(), 5432, &[] as &[i32]),
        ("mongodb", spec.mongodb.managed.is_some(), 27017, &[27017]),
        ("rabbitmq", spec.rabbitmq.managed.is_some(), 5672, &[4369, 25672]),
    ];
    for (server, _, port, among) in servers.into_iter().filter(|(_, managed, ..)| *managed) {
        let from_operator = json!({ "from": [operator], "ports": [tcp(port)] });
        rules.entry(server.to_owned()).or_default().ingress.push(from_operator);
        for port in among {
            edge(blueprint, server, server, *port, rules);
        }
    }
}

/// Lets `from` reach `to`: out of the one and into the other.
fn edge(blueprint: &Blueprint<'_>, from: &str, to: &str, port: i32, rules: &mut BTreeMap<String, Rules>) {
    let pods = |component: &str| json!({ "podSelector": { "matchLabels": blueprint.identity.selector(component) } });
    let egress = json!({ "to": [pods(to)], "ports": [tcp(port)] });
    let ingress = json!({ "from": [pods(from)], "ports": [tcp(port)] });
    rules.entry(from.to_owned()).or_default().egress.push(egress);
    rules.entry(to.to_owned()).or_default().ingress.push(ingress);
}

/// Lets `from` reach a server that may be anywhere, in the cluster too, at one port.
fn elsewhere(from: &str, port: i32, rules: &mut BTreeMap<String, Rules>) {
    let anywhere =
        json!([{ "ipBlock": { "cidr": "0.0.0.0/0" } }, { "ipBlock": { "cidr": "::/0" } }, { "namespaceSelector": {} }]);
    let rule = json!({ "to": anywhere, "ports": [tcp(port)] });
    let egress = &mut rules.entry(from.to_owned()).or_default().egress;
    if !egress.contains(&rule) {
        egress.push(rule);
    }
}

fn deny_all(blueprint: &Blueprint<'_>) -> Child {
    let labels =
        json!({ "app.kubernetes.io/instance": blueprint.identity.name, "app.kubernetes.io/managed-by": MANAGED_BY });
    let spec = json!({ "podSelector": { "matchLabels": labels }, "policyTypes": ["Ingress", "Egress"] });
    Child::new(blueprint.identity, Kind::NetworkPolicy, "deny-all", "", json!({ "spec": spec }))
}

fn policy(blueprint: &Blueprint<'_>, component: &str, mut rules: Rules) -> Child {
    rules.egress.push(dns());
    let mut spec = json!({
        "podSelector": { "matchLabels": blueprint.identity.selector(component) },
        "policyTypes": ["Ingress", "Egress"],
        "egress": rules.egress,
    });
    if !rules.ingress.is_empty() {
        spec["ingress"] = Value::Array(rules.ingress);
    }
    Child::new(blueprint.identity, Kind::NetworkPolicy, component, component, json!({ "spec": spec }))
}

fn dns() -> Value {
    json!({
        "to": [{
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
            "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } },
        }],
        "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
    })
}

fn tcp(port: i32) -> Value {
    json!({ "protocol": "TCP", "port": port })
}

/// Ingress controllers run in a namespace of their own. Pods beside the platform stay out.
fn other_namespaces(blueprint: &Blueprint<'_>) -> Value {
    json!({ "namespaceSelector": { "matchExpressions": [{
        "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [blueprint.identity.namespace],
    }] } })
}

fn peer(peer: &Peer) -> Value {
    if let Some(cidr) = &peer.cidr {
        return json!({ "ipBlock": { "cidr": cidr } });
    }
    let mut value = json!({});
    if let Some(labels) = &peer.namespace_labels {
        value["namespaceSelector"] = json!({ "matchLabels": labels });
    }
    if let Some(labels) = &peer.pod_labels {
        value["podSelector"] = json!({ "matchLabels": labels });
    }
    value
}
