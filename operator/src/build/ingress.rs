//! The way in: an Ingress of any class, or an HTTPRoute of the Gateway API. One origin, routed by path.

use serde_json::{Value, json};

use crate::{
    build::{Blueprint, Program, program::HTTP_PORT},
    child::{Child, Kind},
};

/// Which program answers which paths. `/` is the frontend's, and takes what is left.
pub const ROUTES: [(&str, Program); 6] = [
    ("/users", Program::User),
    ("/api/events", Program::Event),
    ("/bookings", Program::Booking),
    ("/payments", Program::Booking),
    ("/notifications", Program::Notification),
    ("/", Program::Frontend),
];

/// The Ingress.
pub fn ingress(blueprint: &Blueprint<'_>) -> Child {
    let exposure = &blueprint.spec.exposure;
    let path = |(path, program): (&str, Program)| {
        let name = blueprint.identity.child_name(program.name());
        json!({
            "path": path, "pathType": "Prefix",
            "backend": { "service": { "name": name, "port": { "name": "http" } } },
        })
    };
    let mut rule = json!({ "http": { "paths": ROUTES.map(path) } });
    if let Some(host) = &exposure.host {
        rule["host"] = json!(host);
    }
    let mut spec = json!({ "rules": [rule] });
    if let Some(class) = &exposure.class_name {
        spec["ingressClassName"] = json!(class);
    }
    if let Some(tls) = &exposure.tls {
        spec["tls"] = json!([{ "hosts": exposure.host, "secretName": tls.secret_name }]);
        spec["tls"][0]["hosts"] = exposure.host.iter().map(|host| json!(host)).collect();
    }
    Child::new(blueprint.identity, Kind::Ingress, "", "", json!({ "spec": spec }))
        .annotated(exposure.annotations.clone())
}

/// The HTTPRoute.
pub fn http_route(blueprint: &Blueprint<'_>) -> Child {
    let exposure = &blueprint.spec.exposure;
    let rule = |(path, program): (&str, Program)| {
        let name = blueprint.identity.child_name(program.name());
        json!({
            "matches": [{ "path": { "type": "PathPrefix", "value": path } }],
            "backendRefs": [{ "group": "", "kind": "Service", "name": name, "port": HTTP_PORT, "weight": 1 }],
        })
    };
    let parent = exposure.gateway_ref.clone().unwrap_or_default();
    let mut parent_ref = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": parent.name });
    let more = [("namespace", parent.namespace), ("sectionName", parent.section_name)];
    for (key, value) in more.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        parent_ref[key] = Value::String(value);
    }
    let mut spec = json!({ "parentRefs": [parent_ref], "rules": ROUTES.map(rule) });
    if let Some(host) = &exposure.host {
        spec["hostnames"] = json!([host]);
    }
    Child::new(blueprint.identity, Kind::HttpRoute, "", "", json!({ "spec": spec }))
        .annotated(exposure.annotations.clone())
}
