//! Services: one for each program and server, and one with the pods' own names for each server.

use serde_json::{Value, json};

use crate::{
    build::{
        Blueprint,
        program::{ADMIN_PORT, HTTP_PORT},
    },
    child::{Child, Kind},
};

/// All Services of the platform.
pub fn services(blueprint: &Blueprint<'_>) -> Vec<Child> {
    let mut services: Vec<Child> = blueprint
        .programs()
        .into_iter()
        .map(|program| {
            let ports = json!([port("http", HTTP_PORT), port("admin", ADMIN_PORT)]);
            service(blueprint, program.name(), program.name(), &ports)
        })
        .collect();
    let spec = blueprint.spec;
    if spec.postgres.managed.is_some() {
        services.push(service(blueprint, "postgres", "postgres", &json!([port("postgres", 5432)])));
        services.push(nodes(blueprint, "postgres", &json!([port("postgres", 5432)])));
    }
    if spec.mongodb.managed.is_some() {
        services.push(nodes(blueprint, "mongodb", &json!([port("mongodb", 27017)])));
    }
    if spec.rabbitmq.managed.is_some() {
        services.push(service(blueprint, "rabbitmq", "rabbitmq", &json!([port("amqp", 5672)])));
        let ports = json!([port("amqp", 5672), port("epmd", 4369), port("cluster", 25672)]);
        services.push(nodes(blueprint, "rabbitmq", &ports));
    }
    services
}

fn port(name: &str, port: i32) -> Value {
    json!({ "name": name, "port": port, "targetPort": name, "protocol": "TCP" })
}

fn service(blueprint: &Blueprint<'_>, suffix: &str, component: &str, ports: &Value) -> Child {
    let spec = json!({ "type": "ClusterIP", "selector": blueprint.identity.selector(component), "ports": ports });
    Child::new(blueprint.identity, Kind::Service, suffix, component, json!({ "spec": spec }))
}

/// Gives the pods of a server names of their own, unready ones too: members find each other before they are ready.
fn nodes(blueprint: &Blueprint<'_>, component: &str, ports: &Value) -> Child {
    let spec = json!({
        "type": "ClusterIP", "clusterIP": "None", "publishNotReadyAddresses": true,
        "selector": blueprint.identity.selector(component), "ports": ports,
    });
    Child::new(blueprint.identity, Kind::Service, &format!("{component}-nodes"), component, json!({ "spec": spec }))
}
