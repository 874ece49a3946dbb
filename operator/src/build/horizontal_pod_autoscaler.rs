//! The autoscaler of a program.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};

use crate::{blueprint::Blueprint, program::Program};

/// The autoscaler of a program, if its spec has one. A stopped platform has none: it would start pods again.
pub fn autoscaler(blueprint: &Blueprint<'_>, program: Program) -> Option<HorizontalPodAutoscaler> {
    let autoscaling = program.service(blueprint).autoscaling.filter(|_| !blueprint.is_stopped())?;
    let name = program.name();
    let target = MetricTarget {
        type_: "Utilization".to_owned(),
        average_utilization: Some(autoscaling.target_cpu_percent),
        ..Default::default()
    };
    Some(HorizontalPodAutoscaler {
        metadata: blueprint.identity.metadata(name, name),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: blueprint.identity.resource_name(name),
            },
            min_replicas: Some(autoscaling.min_replicas),
            max_replicas: autoscaling.max_replicas,
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource { name: "cpu".to_owned(), target }),
                ..Default::default()
            }]),
            ..Default::default()
        },
        ..Default::default()
    })
}
