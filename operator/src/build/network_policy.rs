//! NetworkPolicies: both directions are denied except for the edges of the picture in `docs/architecture.md`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use crate::{
    blueprint::Blueprint,
    build::{
        job,
        program::{ADMIN_PORT, HTTP_PORT},
    },
    crd::{PaymentProvider, Peer},
    program::Program,
};

/// The `app.kubernetes.io/name` of the operator's pods in the chart.
const OPERATOR_NAME: &str = "eventplatform-operator";
/// The label that every namespace has with its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The rules of one component, collected edge by edge.
#[derive(Default)]
struct Rules {
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
}

type RulesByComponent = BTreeMap<String, Rules>;

/// One policy that denies all traffic of the platform's pods, and one per component that allows its edges.
pub fn network_policies(blueprint: &Blueprint<'_>) -> Vec<NetworkPolicy> {
    let mut rules = RulesByComponent::new();
    for program in blueprint.programs() {
        allow_outside(blueprint, program, &mut rules);
        allow_servers(blueprint, program, program.name(), true, &mut rules);
        if program.migrates() {
            allow_servers(blueprint, program, &job::component(program), false, &mut rules);
        }
    }
    allow_between_programs(blueprint, &mut rules);
    allow_within_servers(blueprint, &mut rules);
    let mut policies = vec![deny_all(blueprint)];
    policies.extend(rules.into_iter().map(|(component, rules)| policy(blueprint, &component, rules)));
    policies
}

/// From the ingress controller and the metrics scraper.
fn allow_outside(blueprint: &Blueprint<'_>, program: Program, rules: &mut RulesByComponent) {
    let policy = &blueprint.spec.network_policy;
    let ingress = &mut rules.entry(program.name().to_owned()).or_default().ingress;
    if program != Program::MockGateway {
        let from = if policy.ingress_from.is_empty() {
            vec![other_namespaces(blueprint)]
        } else {
            policy.ingress_from.iter().map(peer).collect()
        };
        ingress.push(ingress_rule(from, HTTP_PORT));
    }
    if !policy.metrics_from.is_empty() {
        ingress.push(ingress_rule(policy.metrics_from.iter().map(peer).collect(), ADMIN_PORT));
    }
}

/// From a program or its migration to the servers it uses. A migration does not use RabbitMQ.
fn allow_servers(
    blueprint: &Blueprint<'_>,
    program: Program,
    component: &str,
    messages: bool,
    rules: &mut RulesByComponent,
) {
    let spec = blueprint.spec;
    if program.uses_postgres() {
        match &spec.postgres.external {
            None => allow(blueprint, component, "postgres", 5432, rules),
            Some(external) => allow_anywhere(component, external.port, rules),
        }
    }
    if program.uses_mongodb() {
        match &spec.mongodb.external {
            None => allow(blueprint, component, "mongodb", 27017, rules),
            Some(external) => external.hosts.iter().for_each(|host| allow_anywhere(component, port_of(host), rules)),
        }
    }
    if messages && program.uses_rabbitmq() {
        match &spec.rabbitmq.external {
            None => allow(blueprint, component, "rabbitmq", 5672, rules),
            Some(external) => allow_anywhere(component, external.port, rules),
        }
    }
}

fn port_of(host: &str) -> i32 {
    host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(27017)
}

fn allow_between_programs(blueprint: &Blueprint<'_>, rules: &mut RulesByComponent) {
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
        PaymentProvider::Stripe => allow_anywhere(Program::Booking.name(), 443, rules),
    }
    for (from, to) in edges {
        allow(blueprint, from.name(), to.name(), HTTP_PORT, rules);
    }
}

/// From the operator to the servers, and between the members of a server.
fn allow_within_servers(blueprint: &Blueprint<'_>, rules: &mut RulesByComponent) {
    let spec = blueprint.spec;
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(labels([(NAMESPACE_NAME, &blueprint.settings.pod_namespace)])),
        pod_selector: Some(labels([("app.kubernetes.io/name", OPERATOR_NAME)])),
        ..Default::default()
    };
    let servers = [
        ("postgres", spec.postgres.managed.is_some(), 5432, &[] as &[i32]),
        ("mongodb", spec.mongodb.managed.is_some(), 27017, &[27017]),
        ("rabbitmq", spec.rabbitmq.managed.is_some(), 5672, &[4369, 25672]),
    ];
    for (server, _, port, member_ports) in servers.into_iter().filter(|(_, managed, ..)| *managed) {
        let from_operator = ingress_rule(vec![operator.clone()], port);
        rules.entry(server.to_owned()).or_default().ingress.push(from_operator);
        for port in member_ports {
            allow(blueprint, server, server, *port, rules);
        }
    }
}

/// Allows `from` to reach `to`: egress of the one and ingress of the other.
fn allow(blueprint: &Blueprint<'_>, from: &str, to: &str, port: i32, rules: &mut RulesByComponent) {
    let pods = |component: &str| {
        vec![NetworkPolicyPeer { pod_selector: Some(blueprint.identity.selector(component)), ..Default::default() }]
    };
    rules.entry(from.to_owned()).or_default().egress.push(egress_rule(pods(to), vec![tcp(port)]));
    rules.entry(to.to_owned()).or_default().ingress.push(ingress_rule(pods(from), port));
}

/// Allows `from` to reach one port of an external server, which may be in the cluster too.
fn allow_anywhere(from: &str, port: i32, rules: &mut RulesByComponent) {
    let every_namespace =
        NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..Default::default() };
    let rule = egress_rule(vec![ip_block("0.0.0.0/0"), ip_block("::/0"), every_namespace], vec![tcp(port)]);
    let egress = &mut rules.entry(from.to_owned()).or_default().egress;
    if !egress.contains(&rule) {
        egress.push(rule);
    }
}

fn deny_all(blueprint: &Blueprint<'_>) -> NetworkPolicy {
    NetworkPolicy {
        metadata: blueprint.identity.metadata("deny-all", ""),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(blueprint.identity.platform_selector()),
            policy_types: Some(both_directions()),
            ..Default::default()
        }),
    }
}

fn policy(blueprint: &Blueprint<'_>, component: &str, mut rules: Rules) -> NetworkPolicy {
    rules.egress.push(dns());
    NetworkPolicy {
        metadata: blueprint.identity.metadata(component, component),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(blueprint.identity.selector(component)),
            policy_types: Some(both_directions()),
            egress: Some(rules.egress),
            ingress: (!rules.ingress.is_empty()).then_some(rules.ingress),
        }),
    }
}

fn both_directions() -> Vec<String> {
    vec!["Ingress".to_owned(), "Egress".to_owned()]
}

fn dns() -> NetworkPolicyEgressRule {
    let dns = NetworkPolicyPeer {
        namespace_selector: Some(labels([(NAMESPACE_NAME, "kube-system")])),
        pod_selector: Some(labels([("k8s-app", "kube-dns")])),
        ..Default::default()
    };
    egress_rule(vec![dns], vec![port("UDP", 53), port("TCP", 53)])
}

fn ingress_rule(from: Vec<NetworkPolicyPeer>, port: i32) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(from), ports: Some(vec![tcp(port)]) }
}

fn egress_rule(to: Vec<NetworkPolicyPeer>, ports: Vec<NetworkPolicyPort>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(to), ports: Some(ports) }
}

fn tcp(number: i32) -> NetworkPolicyPort {
    port("TCP", number)
}

fn port(protocol: &str, port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port: Some(IntOrString::Int(port)), ..Default::default() }
}

fn ip_block(cidr: &str) -> NetworkPolicyPeer {
    let block = IPBlock { cidr: cidr.to_owned(), ..Default::default() };
    NetworkPolicyPeer { ip_block: Some(block), ..Default::default() }
}

fn labels<const N: usize>(labels: [(&str, &str); N]) -> LabelSelector {
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    LabelSelector { match_labels: Some(labels.into()), ..Default::default() }
}

/// Every namespace but the platform's: ingress controllers run elsewhere, and neighbouring pods stay out.
fn other_namespaces(blueprint: &Blueprint<'_>) -> NetworkPolicyPeer {
    let requirement = LabelSelectorRequirement {
        key: NAMESPACE_NAME.to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(vec![blueprint.identity.namespace.clone()]),
    };
    let selector = LabelSelector { match_expressions: Some(vec![requirement]), ..Default::default() };
    NetworkPolicyPeer { namespace_selector: Some(selector), ..Default::default() }
}

fn peer(peer: &Peer) -> NetworkPolicyPeer {
    if let Some(cidr) = &peer.cidr {
        return ip_block(cidr);
    }
    let selector = |labels: &Option<BTreeMap<String, String>>| {
        let labels = labels.clone()?;
        Some(LabelSelector { match_labels: Some(labels), ..Default::default() })
    };
    NetworkPolicyPeer {
        namespace_selector: selector(&peer.namespace_labels),
        pod_selector: selector(&peer.pod_labels),
        ..Default::default()
    }
}
