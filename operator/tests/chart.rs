//! The chart as far as it can be judged without helm: rights, examples, values.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use eventplatform_operator::{admin, crd::EventPlatform, crdgen, resource::Kind};
use kube::core::cel::Validator;
use serde_json::Value;

fn chart(path: &str) -> String {
    let path = format!("{}/../charts/eventplatform/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&chart(path)).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Verbs by `group/resource`.
fn rights() -> BTreeMap<String, Vec<String>> {
    let rules = yaml("files/operator-rules.yaml");
    let mut rights = BTreeMap::new();
    for rule in rules.as_array().unwrap() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let verbs = texts(&rule["verbs"]).into_iter().map(str::to_owned).collect();
                assert!(rights.insert(format!("{group}/{resource}"), verbs).is_none(), "{resource} is there twice");
            }
        }
    }
    rights
}

#[test]
fn the_operator_has_the_rights_it_needs_over_every_kind_it_writes() {
    let rights = rights();

    for kind in Kind::ALL {
        let resource = kind.resource();
        let verbs = rights.get(&format!("{}/{}", resource.group, resource.plural)).cloned().unwrap_or_default();
        assert_eq!(verbs, ["get", "list", "watch", "create", "patch", "delete"], "{}", kind.name());
    }
}

#[test]
fn no_right_is_a_wildcard_and_none_is_for_a_kind_that_is_not_written() {
    let written: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("{}/{}", kind.resource().group, kind.resource().plural)).collect();
    let others = [
        "/persistentvolumeclaims",
        "/pods",
        "events.k8s.io/events",
        "platform.eventbooking.dev/eventplatforms",
        "platform.eventbooking.dev/eventplatforms/finalizers",
        "platform.eventbooking.dev/eventplatforms/status",
    ];

    for (resource, verbs) in rights() {
        assert!(!resource.contains('*') && !verbs.iter().any(|verb| verb == "*"), "{resource}");
        assert!(written.contains(&resource) || others.contains(&resource.as_str()), "{resource} is not needed");
    }
}

#[test]
fn the_examples_are_admitted() {
    let definition = serde_json::to_value(crdgen::definition()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for example in ["demo", "production"] {
        let object = yaml(&format!("examples/{example}.yaml"));

        let platform: EventPlatform = serde_json::from_value(object.clone()).unwrap();
        let back = serde_json::to_value(&platform).unwrap();
        assert!(eventplatform_operator::drift::covers(&back, &object), "{example} has a field that is unknown");
        Validator::new().validate_with_defaults(schema, &object, None).unwrap_or_else(|errors| panic!("{errors:?}"));
    }
}

/// Paths of all leaves and of empty maps.
fn paths(prefix: &str, value: &Value, out: &mut Vec<String>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            map.iter().for_each(|(key, value)| paths(&format!("{prefix}/{key}"), value, out));
        }
        _ => out.push(prefix.to_owned()),
    }
}

#[test]
fn every_value_is_in_the_schema_and_the_other_way_round() {
    let values = yaml("values.yaml");
    let schema: Value = serde_json::from_str(&chart("values.schema.json")).unwrap();
    let free = ["/operator/resources"];

    let mut given = Vec::new();
    paths("", &values, &mut given);
    for path in given.iter().filter(|path| !free.iter().any(|free| path.starts_with(free))) {
        let place = path.split('/').skip(1).fold(&schema, |place, key| &place["properties"][key]);
        assert!(!place.is_null(), "{path} is not in values.schema.json");
    }
    for (section, described) in schema["properties"].as_object().unwrap().iter().filter(|(name, _)| *name != "global") {
        for key in described["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(values[section].get(key).is_some(), "{section}.{key} is not in values.yaml");
        }
    }
}

#[test]
fn every_value_that_a_template_takes_exists() {
    let values = yaml("values.yaml");
    let templates =
        ["_helpers.tpl", "alerts.yaml", "crd.yaml", "deployment.yaml", "NOTES.txt", "platform.yaml", "rbac.yaml"]
            .map(|name| chart(&format!("templates/{name}")))
            .concat();

    let mut used = 0;
    for place in templates.split(".Values.").skip(1) {
        let path: String = place.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
        let found = path.trim_end_matches('.').split('.').fold(&values, |place, key| &place[key]);
        assert!(!found.is_null(), ".Values.{path} is not in values.yaml");
        used += 1;
    }
    assert!(used > 20);
}

/// The repository's docs/operations.md.
fn operations() -> String {
    std::fs::read_to_string(format!("{}/../docs/operations.md", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn every_alert_says_what_is_wrong_and_names_a_section_that_says_what_to_do() {
    let (alerts, operations) = (yaml("files/alerts.yaml"), operations());
    let mut names = BTreeSet::new();

    for alert in alerts.as_array().unwrap() {
        let name = alert["alert"].as_str().unwrap();
        assert!(names.insert(name), "{name} is there twice");
        assert!(alert["for"].is_string() && alert["expr"].is_string(), "{name}");
        assert!(["warning", "critical"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{name}");
        let summary = alert["annotations"]["summary"].as_str().unwrap();
        assert!(summary.ends_with('.'), "{name}");
        let of_platform = alert["expr"].as_str().unwrap().contains("by (platform_namespace, platform)");
        assert_eq!(of_platform, summary.contains("{{ $labels.platform_namespace }}/{{ $labels.platform }}"), "{name}");
        let runbook = alert["annotations"]["runbook"].as_str().unwrap();
        let section = runbook.strip_prefix("docs/operations.md, ").unwrap().trim_matches('"');
        let mut headings = operations.lines().filter_map(|line| line.strip_prefix("##"));
        assert!(headings.any(|heading| heading.trim_start_matches('#').trim() == section), "{name}: {section}");
    }
    assert!(names.len() >= 5);
}

/// Those of the services are looked for on a running platform: tests/e2e/metrics.rs.
#[test]
fn the_alerts_name_the_operators_metrics_as_they_are() {
    let alerts = chart("files/alerts.yaml");
    let named = alerts.split(|c: char| !c.is_ascii_lowercase() && c != '_');

    let of_operator: BTreeSet<&str> = named.filter(|word| word.starts_with("eventplatform_operator_")).collect();

    let known = [
        admin::LEADING,
        admin::PLATFORM_CONDITION,
        admin::UNDECODABLE_PLATFORM,
        admin::WATCHING,
        admin::WATCH_FAILURES,
    ];
    assert_eq!(of_operator, BTreeSet::from(known));
}
