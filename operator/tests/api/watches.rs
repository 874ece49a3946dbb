//! The controller with its watches.

use std::time::Duration;

use axum::{body::Body, http::Request};
use eventplatform_operator::{
    admin::{self, Health},
    run::{control, wait_for_kind},
    settings::Settings,
};
use http_body_util::BodyExt;
use platform::telemetry;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::server::ApiServer;

/// Waits until `holds`, at most half a minute.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
}

fn platform(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform",
        "metadata": { "name": name, "namespace": "shop" }, "spec": spec,
    })
}

#[tokio::test]
async fn a_platform_that_cannot_be_decoded_is_counted_and_does_not_stop_the_others() {
    // Counters count from now on.
    telemetry::metrics_handle();
    let api = ApiServer::default();
    api.put("eventplatforms", platform("broken", &json!({ "services": 5 })));
    api.put("eventplatforms", platform("demo", &json!({})));
    let health = Health::default();

    let control = tokio::spawn(control(api.client(), settings(), health.clone()));

    until(|| api.get("services", "demo-user").is_some()).await;
    until(|| health.metrics().contains("eventplatform_reconciles_total{outcome=\"Undecodable\"} 1")).await;
    let series = "eventplatform_operator_undecodable_platform{platform_namespace=\"shop\",platform=\"broken\"} 1";
    assert!(health.metrics().contains(series));
    assert_eq!(get(&health, "/readyz").await, (200, "ready".to_owned()));
    assert!(!api.names().iter().any(|name| name.contains("/broken-")));
    assert!(api.get("eventplatforms", "broken").unwrap().get("status").is_none());
    control.abort();
}

#[tokio::test]
async fn what_the_secrets_of_others_hold_is_not_read() {
    let api = ApiServer::default();
    let secret = |name: &str| {
        let data = json!({ "email": "YUBi", "password": "bG9uZ2VyIHRoYW4gdGhhdA==" });
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": data })
    };
    api.put("secrets", secret("stranger"));
    api.put("secrets", secret("root"));
    api.put("eventplatforms", platform("demo", &json!({ "admin": { "credentialsSecretRef": { "name": "root" } } })));

    let control = tokio::spawn(control(api.client(), settings(), Health::default()));

    until(|| api.get("services", "demo-user").is_some()).await;
    assert!(api.disclosed().contains("root"));
    assert!(!api.disclosed().contains("stranger"));
    control.abort();
}

#[tokio::test]
async fn an_operator_is_not_ready_before_it_has_listed_the_platforms() {
    let api = ApiServer::default();
    api.put("eventplatforms", platform("demo", &json!({})));
    api.forget_kind("eventplatforms", true);
    let health = Health::default();

    let control = tokio::spawn(control(api.client(), settings(), health.clone()));

    until(|| health.problem().is_some_and(|problem| problem.contains("could not find the requested resource"))).await;
    assert_eq!(get(&health, "/readyz").await.0, 503);
    assert_eq!(get(&health, "/livez").await.0, 200);
    api.forget_kind("eventplatforms", false);
    until(|| health.problem().is_none()).await;
    until(|| api.get("services", "demo-user").is_some()).await;
    control.abort();
}

#[tokio::test]
async fn a_replica_does_not_wait_for_the_lease_before_the_kind_can_be_listed() {
    let api = ApiServer::default();
    api.forget_kind("eventplatforms", true);
    let (health, client) = (Health::default(), api.client());
    let waiting = tokio::spawn({
        let health = health.clone();
        async move { wait_for_kind(&client, &settings(), &health).await }
    });

    until(|| health.problem().is_some_and(|problem| problem.contains("EventPlatforms cannot be listed"))).await;
    assert!(!waiting.is_finished());
    api.forget_kind("eventplatforms", false);

    waiting.await.unwrap();
}

fn settings() -> Settings {
    Settings { watch_namespace: Some("shop".to_owned()), ..Settings::default() }
}

/// Status and body of an answer of the admin listener.
async fn get(health: &Health, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = admin::router(health.clone()).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
