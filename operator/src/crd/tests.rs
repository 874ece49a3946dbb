//! The CEL rules of the resource, evaluated as in the API server.

use kube::core::cel::Validator;
use serde_json::{Value, json};

use crate::crdgen;

/// The messages with which the API server would reject a change from `old` to `new`.
fn rejections(old: Option<&Value>, new: &Value) -> Vec<String> {
    let definition = serde_json::to_value(crdgen::definition()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    match Validator::new().validate_with_defaults(schema, new, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

fn platform(spec: Value) -> Value {
    let mut platform = json!({
        "apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform",
        "metadata": {"name": "demo", "namespace": "default"},
    });
    platform["spec"] = spec;
    platform
}

#[track_caller]
fn rejects(spec: Value, words: &str) {
    let rejections = rejections(None, &platform(spec));

    assert!(rejections.iter().any(|message| message.contains(words)), "{rejections:?} does not mention {words:?}");
}

#[track_caller]
fn rejects_change(old: Value, new: Value, words: &str) {
    let rejections = rejections(Some(&platform(old)), &platform(new));

    assert!(rejections.iter().any(|message| message.contains(words)), "{rejections:?} does not mention {words:?}");
}

#[track_caller]
fn accepts(spec: Value) {
    assert_eq!(rejections(None, &platform(spec)), Vec::<String>::new());
}

#[track_caller]
fn accepts_change(old: Value, new: Value) {
    assert_eq!(rejections(Some(&platform(old)), &platform(new)), Vec::<String>::new());
}

fn external_postgres() -> Value {
    json!({"host": "db.example.org", "credentialsSecretRef": {"name": "db"}})
}

#[test]
fn an_empty_spec_is_complete() {
    accepts(json!({}));
}

#[test]
fn a_name_too_long_for_object_names_is_rejected() {
    let mut long = platform(json!({}));
    long["metadata"]["name"] = json!("a".repeat(31));
    let mut digit = platform(json!({}));
    digit["metadata"]["name"] = json!("1st");

    assert!(rejections(None, &long)[0].contains("30 characters or fewer"));
    assert!(rejections(None, &digit)[0].contains("must start with a letter"));
}

#[test]
fn a_server_is_either_managed_or_external() {
    let both = json!({"managed": {"storage": {"size": "1Gi"}}, "external": external_postgres()});

    rejects(json!({"postgres": both}), "postgres needs exactly one of managed and external");
    rejects(json!({"postgres": {}}), "postgres needs exactly one");
    rejects(json!({"mongodb": {}}), "mongodb needs exactly one");
    rejects(json!({"rabbitmq": {}}), "rabbitmq needs exactly one");
    accepts(json!({"postgres": {"external": external_postgres()}}));
}

#[test]
fn the_mode_of_a_server_cannot_change() {
    let managed = json!({"postgres": {"managed": {"storage": {"size": "10Gi"}}}});
    let external = json!({"postgres": {"external": external_postgres()}});

    rejects_change(managed.clone(), external.clone(), "cannot change between managed and external");
    rejects_change(external, managed, "cannot change between managed and external");
}

#[test]
fn storage_grows_but_never_shrinks_nor_changes_its_class() {
    let sized = |size: &str| json!({"mongodb": {"managed": {"members": 1, "storage": {"size": size}}}});
    let classed =
        |class: &str| json!({"rabbitmq": {"managed": {"replicas": 1, "storage": {"size": "1Gi", "className": class}}}});

    accepts_change(sized("1Gi"), sized("1.5Gi"));
    accepts_change(sized("1Gi"), sized("1024Mi"));
    rejects_change(sized("1Gi"), sized("900Mi"), "may grow but not shrink");
    // Back to what the volumes have, if they could not grow.
    let with_volume = |size: &str| {
        let mut platform = platform(sized(size));
        platform["status"]["dependencies"] = json!([
            {"name": "mongodb", "endpoint": "e", "secretName": "s", "storage": "1Gi"},
            {"name": "postgres", "endpoint": "e", "secretName": "s", "storage": "1Mi"},
        ]);
        platform
    };
    assert_eq!(rejections(Some(&with_volume("2Gi")), &with_volume("1Gi")), Vec::<String>::new());
    let below = rejections(Some(&with_volume("2Gi")), &with_volume("900Mi"));
    assert!(below.iter().any(|message| message.contains("may grow but not shrink")), "{below:?}");
    rejects_change(classed("fast"), classed("slow"), "className cannot be changed");
    rejects_change(
        sized("1Gi"),
        json!({"mongodb": {"managed": {"members": 1, "storage": {"size": "1Gi", "className": "x"}}}}),
        "className cannot",
    );
    rejects(sized("much"), "must be a quantity above 0");
    rejects(sized("0"), "must be a quantity above 0");
}

#[test]
fn members_are_one_or_three_and_only_grow() {
    let members = |n: i32| json!({"mongodb": {"managed": {"members": n, "storage": {"size": "1Gi"}}}});
    let replicas = |n: i32| json!({"rabbitmq": {"managed": {"replicas": n, "storage": {"size": "1Gi"}}}});

    rejects(members(2), "must be 1 or 3");
    rejects(replicas(2), "must be 1 or 3");
    accepts_change(members(1), members(3));
    rejects_change(members(3), members(1), "not shrink");
    rejects_change(replicas(3), replicas(1), "not shrink");
}

#[test]
fn replicas_are_bounded_and_exclude_autoscaling() {
    let booking = |service: Value| json!({"services": {"booking": service}});

    rejects(booking(json!({"replicas": 0})), "between 1 and 50");
    rejects(booking(json!({"replicas": 51})), "management: Stopped");
    rejects(booking(json!({"replicas": 2, "autoscaling": {"maxReplicas": 4}})), "not both");
    rejects(booking(json!({"autoscaling": {"minReplicas": 5, "maxReplicas": 4}})), "must not be above");
    accepts(booking(json!({"autoscaling": {"maxReplicas": 4}})));
    accepts_change(booking(json!({"replicas": 2})), booking(json!({"autoscaling": {"maxReplicas": 4}})));
}

#[test]
fn stripe_needs_credentials_and_the_mock_none() {
    rejects(json!({"payments": {"provider": "Stripe"}}), "needs payments.credentialsSecretRef");
    rejects(json!({"payments": {"credentialsSecretRef": {"name": "x"}}}), "is for payments.provider Stripe");
    accepts(json!({"payments": {"provider": "Stripe", "credentialsSecretRef": {"name": "stripe"}}}));
}

#[test]
fn an_exposure_that_cannot_work_is_rejected() {
    rejects(json!({"exposure": {"type": "Gateway"}}), "needs exposure.gatewayRef");
    rejects(json!({"exposure": {"tls": {"secretName": "x"}}}), "needs exposure.host");
    rejects(
        json!({"exposure": {"type": "None", "host": "x.org", "tls": {"secretName": "x"}}}),
        "is for exposure.type Ingress",
    );
    accepts(json!({"exposure": {"host": "x.org", "tls": {"secretName": "x"}}}));
}

#[test]
fn a_network_peer_is_addresses_or_labels() {
    let peer = |peer: Value| json!({"networkPolicy": {"ingressFrom": [peer]}});

    rejects(peer(json!({})), "either a cidr or labels");
    rejects(peer(json!({"cidr": "10.0.0.0/8", "podLabels": {"a": "b"}})), "either a cidr or labels");
    accepts(peer(json!({"cidr": "10.0.0.0/8"})));
    accepts(peer(json!({"namespaceLabels": {"a": "b"}, "podLabels": {"a": "b"}})));
}

#[test]
fn a_ca_is_for_verified_connections() {
    let tls = json!({"mode": "Disable", "caSecretRef": {"name": "ca"}});

    rejects(
        json!({"rabbitmq": {"external": {"host": "mq", "credentialsSecretRef": {"name": "mq"}, "tls": tls}}}),
        "is for tls.mode VerifyFull",
    );
}
