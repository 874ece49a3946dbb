//! The Deployment of each program.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{Container, HTTPGetAction, PodSpec, PodTemplateSpec, Probe},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use crate::{
    blueprint::Blueprint,
    build::{
        pod,
        program::{ADMIN_PORT, DRAIN_SECONDS, HTTP_PORT, SHUTDOWN_DELAY_SECONDS},
        secret,
    },
    program::Program,
    resource::{CONFIG_HASH_ANNOTATION, hash},
};

pub fn deployment(blueprint: &Blueprint<'_>, program: Program) -> Deployment {
    let name = program.name();
    // The hash of the files that the program reads at startup. Everything else is in the template itself.
    let config_hash = hash(&secret::program_hash(blueprint, program).into());
    let annotations = [(CONFIG_HASH_ANNOTATION.to_owned(), config_hash)].into();
    // A pod is removed only after its successor is ready.
    let rolling_update =
        RollingUpdateDeployment { max_unavailable: Some(IntOrString::Int(0)), max_surge: Some(IntOrString::Int(1)) };
    Deployment {
        metadata: blueprint.identity.metadata(name, name),
        spec: DeploymentSpec {
            replicas: replicas(blueprint, program),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(300),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(rolling_update),
            }),
            selector: blueprint.identity.selector(name),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(blueprint.identity.labels(name)),
                    annotations: Some(annotations),
                    ..Default::default()
                }),
                spec: Some(pod_spec(blueprint, program)),
            },
            ..Default::default()
        },
        ..Default::default()
    }
}

/// The number of pods to ask for. Nothing under autoscaling, which owns that field.
pub fn replicas(blueprint: &Blueprint<'_>, program: Program) -> Option<i32> {
    let service = program.service(blueprint);
    match service.autoscaling {
        _ if blueprint.is_stopped() => Some(0),
        Some(_) => None,
        None => Some(service.replicas.unwrap_or(1)),
    }
}

fn pod_spec(blueprint: &Blueprint<'_>, program: Program) -> PodSpec {
    let container = Container {
        ports: Some(vec![pod::port("http", HTTP_PORT), pod::port("admin", ADMIN_PORT)]),
        startup_probe: Some(probe("/livez", 1, 60)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 3, 2)),
        ..container(blueprint, program)
    };
    let (volumes, _) = secret::mounts(blueprint, program);
    PodSpec {
        termination_grace_period_seconds: Some(i64::from(SHUTDOWN_DELAY_SECONDS + DRAIN_SECONDS + 10)),
        topology_spread_constraints: Some(pod::spread(blueprint, program.name())),
        containers: vec![container],
        volumes: Some(volumes),
        ..pod::pod_spec(blueprint, pod::PROGRAM_UID)
    }
}

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..Default::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Default::default()
    }
}

/// The container of a program without probes and ports. Its migration uses it too.
pub fn container(blueprint: &Blueprint<'_>, program: Program) -> Container {
    let service = program.service(blueprint);
    let secret = blueprint.identity.resource_name(&program.secret_suffix());
    let mut env: Vec<_> =
        program.environment(blueprint).into_iter().map(|(name, value)| pod::env(name, value)).collect();
    env.extend(service.env.iter().map(|variable| pod::env(&variable.name, &variable.value)));
    let from_secret = program.secret_environment(blueprint).into_iter();
    env.extend(from_secret.map(|(name, key)| pod::env_from_secret(name, &secret, key)));
    let (_, mounts) = secret::mounts(blueprint, program);
    Container {
        name: program.name().to_owned(),
        image: Some(blueprint.image(program)),
        image_pull_policy: Some(blueprint.spec.image.pull_policy.into_str().to_owned()),
        env: Some(env),
        resources: Some(pod::resources(service.resources.as_ref(), &pod::default_resources("50m", "64Mi", "256Mi"))),
        security_context: Some(pod::container_security()),
        volume_mounts: Some(mounts),
        ..Default::default()
    }
}
