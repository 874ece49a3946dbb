//! The Job that brings a program's schema up to date before its new version takes traffic.

use serde_json::{Value, json};

use crate::{
    build::{Blueprint, Program, deployment, pod, secret},
    child::{Child, Kind, hash},
};

/// The component of a program's migration, whose pods are told apart from those of the program.
pub fn component(program: Program) -> String {
    format!("{}-migrate", program.name())
}

/// The migration of a program. Its name ends in a hash of all of it, for a Job cannot be changed: another image or
/// another server is another Job.
pub fn migration(blueprint: &Blueprint<'_>, program: Program) -> Child {
    let spec = spec(blueprint, program);
    let fingerprint = hash(&json!([spec, secret::program_hash(blueprint, program)]));
    let component = component(program);
    let suffix = format!("{component}-{}", &fingerprint[..8]);
    Child::new(blueprint.identity, Kind::Job, &suffix, &component, json!({ "spec": spec }))
}

fn spec(blueprint: &Blueprint<'_>, program: Program) -> Value {
    let (volumes, _): (Vec<Value>, Vec<Value>) = secret::mounts(blueprint, program).into_iter().unzip();
    let mut container = deployment::container(blueprint, program);
    container["name"] = json!("migrate");
    container["args"] = json!(["migrate"]);
    // What it said last becomes the status of its pod, where the operator reads why it failed.
    container["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    json!({
        "backoffLimit": 4,
        "activeDeadlineSeconds": 900,
        "template": {
            "metadata": { "labels": blueprint.identity.labels(&component(program)) },
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "imagePullSecrets": pod::pull_secrets(blueprint),
                "securityContext": pod::pod_security(pod::OWN_UID),
                "containers": [container],
                "volumes": volumes,
            },
        },
    })
}
