//! The main job, on a platform with `spec: {}` that the tests share as long as they leave it as it is.

use anyhow::{Result, ensure};
use cluster_tests::{READY_LIMIT, every_route_answers, variable};
use eventplatform_operator::crd::{ConditionStatus, EventPlatform};
use eventplatform_tests::api::Api as Platform;
use eventplatform_tests::people::{NewEvent, Person};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::json;

/// Namespace and name of the shared platform. `make test-cluster` makes the namespace.
pub(crate) const NAMESPACE: &str = "main";
/// Its name.
pub(crate) const NAME: &str = "main";

/// Applies the platform with `spec: {}`, unless it is there, and waits until it is Ready.
pub(crate) async fn ready() -> Result<EventPlatform> {
    let client = cluster_tests::client().await?;
    let namespace = cluster_tests::Namespace::existing(&client, NAMESPACE);
    namespace.apply(NAME, json!({})).await?;
    namespace.becomes(NAME, "Ready", ConditionStatus::True, None, READY_LIMIT).await
}

/// Somebody at the ingress.
pub(crate) fn visitor() -> Result<Platform> {
    Ok(Platform::new(variable("ORIGIN")?))
}

#[tokio::test]
async fn point_1_an_empty_spec_becomes_ready_and_a_booking_through_the_ingress_completes() -> Result<()> {
    ready().await?;
    let visitor = visitor()?;
    every_route_answers(&visitor).await?;

    let organizer = Person::register(&visitor, "organizer").await?;
    let attendee = Person::register(&visitor, "attendee").await?;
    let event = organizer.creates(NewEvent::priced(10, 2500)).await?;
    let booking = attendee.books(&event, 2).await?;
    attendee.has_paid(&booking).await?;

    attendee.is_told("booking.confirmed", &booking).await?;
    let seen = attendee.sees(&booking).await?;
    ensure!(seen["status"] == "Confirmed" && seen["payment_status"] == "Paid", "{seen}");
    attendee.sees_available(&event, 8, READY_LIMIT).await
}

#[tokio::test]
async fn point_6_ready_means_that_every_program_and_server_is_available() -> Result<()> {
    let platform = ready().await?;

    let status = platform.status.unwrap_or_default();
    ensure!(status.observed_generation == platform.metadata.generation, "{status:?}");
    ensure!(status.services.len() == 6 && status.dependencies.len() == 3, "{status:?}");
    ensure!(status.services.iter().all(|service| service.ready == service.desired), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn point_12_every_pod_runs_under_restricted_pod_security() -> Result<()> {
    // The namespace enforces it: a pod that did not fit would not be there.
    ready().await?;
    let pods: Api<Pod> = Api::namespaced(cluster_tests::client().await?, NAMESPACE);
    let selector = ListParams::default().labels(&format!("app.kubernetes.io/instance={NAME}"));
    let running = pods.list(&selector).await?.items;

    ensure!(running.len() >= 9, "only {} pods", running.len());
    for pod in running {
        let spec = pod.spec.clone().unwrap_or_default();
        let read_only = |container: &k8s_openapi::api::core::v1::Container| {
            container.security_context.as_ref().and_then(|context| context.read_only_root_filesystem) == Some(true)
        };
        ensure!(spec.containers.iter().all(read_only), "{} can write to its root", pod.name_any());
        ensure!(spec.automount_service_account_token == Some(false), "{} has a token", pod.name_any());
    }
    Ok(())
}
