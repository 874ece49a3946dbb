//! The Deployment of each program.

use serde_json::{Value, json};

use crate::{
    build::{
        Blueprint, Program, pod,
        program::{ADMIN_PORT, DRAIN_SECONDS, HTTP_PORT, SHUTDOWN_DELAY_SECONDS},
        secret,
    },
    child::{CONFIG_HASH_ANNOTATION, Child, Kind, hash},
};

/// The Deployment of a program.
pub fn deployment(blueprint: &Blueprint<'_>, program: Program) -> Child {
    let selector = blueprint.identity.selector(program.name());
    let mut spec = json!({
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 300,
        // No pod goes before its successor is ready.
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
        "selector": { "matchLabels": selector },
        "template": {
            "metadata": {
                "labels": blueprint.identity.labels(program.name()),
                "annotations": { CONFIG_HASH_ANNOTATION: config_hash(blueprint, program) },
            },
            "spec": pod_spec(blueprint, program),
        },
    });
    if let Some(replicas) = replicas(blueprint, program) {
        spec["replicas"] = replicas.into();
    }
    Child::new(blueprint.identity, Kind::Deployment, program.name(), program.name(), json!({ "spec": spec }))
}

/// How many pods the operator asks for; none of its business under autoscaling.
pub fn replicas(blueprint: &Blueprint<'_>, program: Program) -> Option<i32> {
    let service = program.service(blueprint);
    match service.autoscaling {
        _ if blueprint.is_stopped() => Some(0),
        Some(_) => None,
        None => Some(service.replicas.unwrap_or(1)),
    }
}

/// Hash of what the program reads at its start. What stands in the template itself needs no hash.
fn config_hash(blueprint: &Blueprint<'_>, program: Program) -> String {
    hash(&json!(secret::program_hash(blueprint, program)))
}

fn pod_spec(blueprint: &Blueprint<'_>, program: Program) -> Value {
    let (volumes, _): (Vec<Value>, Vec<Value>) = secret::mounts(blueprint, program).into_iter().unzip();
    let mut container = container(blueprint, program);
    container["ports"] = json!([
        { "name": "http", "containerPort": HTTP_PORT, "protocol": "TCP" },
        { "name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP" },
    ]);
    let probe = |path: &str, period: i32, failures: i32| {
        json!({
            "httpGet": { "path": path, "port": "admin", "scheme": "HTTP" },
            "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures,
        })
    };
    container["startupProbe"] = probe("/livez", 1, 60);
    container["livenessProbe"] = probe("/livez", 10, 3);
    container["readinessProbe"] = probe("/readyz", 3, 2);
    json!({
        "terminationGracePeriodSeconds": SHUTDOWN_DELAY_SECONDS + DRAIN_SECONDS + 10,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "imagePullSecrets": pod::pull_secrets(blueprint),
        "securityContext": pod::pod_security(pod::OWN_UID),
        "topologySpreadConstraints": pod::spread(blueprint, program.name()),
        "containers": [container],
        "volumes": volumes,
    })
}

/// The container of a program without probes and ports, as its migration needs it too.
pub fn container(blueprint: &Blueprint<'_>, program: Program) -> Value {
    let service = program.service(blueprint);
    let (_, mounts): (Vec<Value>, Vec<Value>) = secret::mounts(blueprint, program).into_iter().unzip();
    let own = service.env.iter().map(|variable| (variable.name.clone(), variable.value.clone()));
    let secret = blueprint.identity.child_name(&program.secret_suffix());
    let mut env = pod::env(program.environment(blueprint).into_iter().chain(own));
    let from_secret = program.secret_environment(blueprint).into_iter();
    env.extend(from_secret.map(|(name, key)| pod::env_from_secret(name, &secret, key)));
    json!({
        "name": program.name(),
        "image": blueprint.image(program),
        "imagePullPolicy": pod::pull_policy(blueprint),
        "env": env,
        "resources": pod::resources(service.resources.as_ref(), &pod::default_resources("50m", "64Mi", "256Mi")),
        "securityContext": pod::container_security(),
        "volumeMounts": mounts,
    })
}
