//! The Ingress, of any class. One origin, routed by path.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use kube::core::ObjectMeta;

use crate::{blueprint::Blueprint, program::Program};

/// The program that answers each path prefix. `/` is the frontend and takes everything else.
pub const ROUTES: [(&str, Program); 7] = [
    ("/users", Program::User),
    ("/api/events", Program::Event),
    ("/bookings", Program::Booking),
    ("/payments", Program::Booking),
    ("/tickets", Program::Booking),
    ("/notifications", Program::Notification),
    ("/", Program::Frontend),
];

pub fn ingress(blueprint: &Blueprint<'_>) -> Ingress {
    let exposure = &blueprint.spec.exposure;
    let path = |(path, program): (&str, Program)| HTTPIngressPath {
        path: Some(path.to_owned()),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: blueprint.identity.resource_name(program.name()),
                port: Some(ServiceBackendPort { name: Some("http".to_owned()), ..Default::default() }),
            }),
            ..Default::default()
        },
    };
    let rule = IngressRule {
        host: exposure.host.clone(),
        http: Some(HTTPIngressRuleValue { paths: ROUTES.map(path).into() }),
    };
    let tls = exposure.tls.as_ref().map(|tls| {
        vec![IngressTLS {
            hosts: Some(exposure.host.iter().cloned().collect()),
            secret_name: Some(tls.secret_name.clone()),
        }]
    });
    Ingress {
        metadata: metadata(blueprint),
        spec: Some(IngressSpec {
            ingress_class_name: exposure.class_name.clone(),
            rules: Some(vec![rule]),
            tls,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Metadata of an Ingress or HTTPRoute, with the annotations in the spec.
pub(super) fn metadata(blueprint: &Blueprint<'_>) -> ObjectMeta {
    let annotations = &blueprint.spec.exposure.annotations;
    ObjectMeta {
        annotations: (!annotations.is_empty()).then(|| annotations.clone()),
        ..blueprint.identity.metadata("", "")
    }
}
