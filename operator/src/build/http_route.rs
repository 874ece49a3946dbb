//! The HTTPRoute of the Gateway API. k8s-openapi has no type for it.

use serde_json::{Value, json};

use crate::{
    blueprint::Blueprint,
    build::{
        ingress::{ROUTES, metadata},
        program::HTTP_PORT,
    },
    program::Program,
    resource::{Kind, Resource},
};

pub fn http_route(blueprint: &Blueprint<'_>) -> Resource {
    let exposure = &blueprint.spec.exposure;
    let rule = |(path, program): (&str, Program)| {
        let name = blueprint.identity.resource_name(program.name());
        json!({
            "matches": [{ "path": { "type": "PathPrefix", "value": path } }],
            "backendRefs": [{ "group": "", "kind": "Service", "name": name, "port": HTTP_PORT, "weight": 1 }],
        })
    };
    let gateway = exposure.gateway_ref.clone().unwrap_or_default();
    let mut parent = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.name });
    let optional = [("namespace", gateway.namespace), ("sectionName", gateway.section_name)];
    for (key, value) in optional.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        parent[key] = Value::String(value);
    }
    let mut spec = json!({ "parentRefs": [parent], "rules": ROUTES.map(rule) });
    if let Some(host) = &exposure.host {
        spec["hostnames"] = json!([host]);
    }
    Resource::dynamic(Kind::HttpRoute, metadata(blueprint), &spec)
}
