//! The controller with its watches.

use std::time::Duration;

use eventplatform_operator::{run::control, settings::Settings};
use platform::telemetry;
use serde_json::{Value, json};

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
    let metrics = telemetry::metrics_handle();
    let api = ApiServer::default();
    api.put("eventplatforms", platform("broken", &json!({ "services": 5 })));
    api.put("eventplatforms", platform("demo", &json!({})));
    let settings = Settings { watch_namespace: Some("shop".to_owned()), ..Settings::default() };

    let control = tokio::spawn(control(api.client(), settings));

    until(|| api.get("services", "demo-user").is_some()).await;
    until(|| metrics.render().contains("eventplatform_reconciles_total{outcome=\"Undecodable\"} 1")).await;
    until(|| metrics.render().contains("eventplatform_operator_undecodable_platforms 1")).await;
    assert!(!api.names().iter().any(|name| name.contains("/broken-")));
    assert!(api.get("eventplatforms", "broken").unwrap().get("status").is_none());
    control.abort();
}
