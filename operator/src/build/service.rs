//! Services: one for each program and server, and a headless one for the members of each server.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    blueprint::Blueprint,
    build::program::{ADMIN_PORT, HTTP_PORT},
};

pub fn services(blueprint: &Blueprint<'_>) -> Vec<Service> {
    let spec = blueprint.spec;
    let mut services: Vec<Service> = blueprint
        .programs()
        .into_iter()
        .map(|program| service(blueprint, program.name(), vec![port("http", HTTP_PORT), port("admin", ADMIN_PORT)]))
        .collect();
    if spec.postgres.managed.is_some() {
        services.push(service(blueprint, "postgres", vec![port("postgres", 5432)]));
        services.push(headless(blueprint, "postgres", vec![port("postgres", 5432)]));
    }
    if spec.mongodb.managed.is_some() {
        services.push(headless(blueprint, "mongodb", vec![port("mongodb", 27017)]));
    }
    if spec.rabbitmq.managed.is_some() {
        services.push(service(blueprint, "rabbitmq", vec![port("amqp", 5672)]));
        let ports = vec![port("amqp", 5672), port("epmd", 4369), port("cluster", 25672)];
        services.push(headless(blueprint, "rabbitmq", ports));
    }
    services
}

fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }
}

fn service(blueprint: &Blueprint<'_>, component: &str, ports: Vec<ServicePort>) -> Service {
    Service {
        metadata: blueprint.identity.metadata(component, component),
        spec: Some(service_spec(blueprint, component, ports)),
        ..Default::default()
    }
}

/// Gives each pod of a server a DNS name, before it is ready too: members find each other before they are ready.
fn headless(blueprint: &Blueprint<'_>, component: &str, ports: Vec<ServicePort>) -> Service {
    Service {
        metadata: blueprint.identity.metadata(&format!("{component}-nodes"), component),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ..service_spec(blueprint, component, ports)
        }),
        ..Default::default()
    }
}

fn service_spec(blueprint: &Blueprint<'_>, component: &str, ports: Vec<ServicePort>) -> ServiceSpec {
    ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: blueprint.identity.selector(component).match_labels,
        ports: Some(ports),
        ..Default::default()
    }
}
