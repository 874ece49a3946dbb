//! The Job that migrates a program's schema before its new version takes traffic.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{Container, PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::json;

use crate::{
    blueprint::Blueprint,
    build::{deployment, pod, secret},
    program::Program,
    resource::hash,
};

/// The component label of a program's migration. It keeps its pods apart from those of the program.
pub fn component(program: Program) -> String {
    format!("{}-migrate", program.name())
}

/// The migration of a program. A Job is immutable, so its name ends in a hash of its spec and its secrets: another image
/// or another server is another Job.
pub fn migration(blueprint: &Blueprint<'_>, program: Program) -> Job {
    let spec = spec(blueprint, program);
    let hash = hash(&json!([spec, secret::program_hash(blueprint, program)]));
    let component = component(program);
    Job {
        metadata: blueprint.identity.metadata(&format!("{component}-{}", &hash[..8]), &component),
        spec: Some(spec),
        ..Default::default()
    }
}

fn spec(blueprint: &Blueprint<'_>, program: Program) -> JobSpec {
    let (volumes, _) = secret::mounts(blueprint, program);
    let container = Container {
        name: "migrate".to_owned(),
        args: Some(vec!["migrate".to_owned()]),
        // The end of its log becomes part of the pod's status, where the operator reads why it failed.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..deployment::container(blueprint, program)
    };
    let pod = PodSpec {
        restart_policy: Some("Never".to_owned()),
        containers: vec![container],
        volumes: Some(volumes),
        ..pod::pod_spec(blueprint, pod::PROGRAM_UID)
    };
    JobSpec {
        backoff_limit: Some(4),
        active_deadline_seconds: Some(900),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(blueprint.identity.labels(&component(program))),
                ..Default::default()
            }),
            spec: Some(pod),
        },
        ..Default::default()
    }
}
