//! What the API server refuses at admission, in words that say what to change.

use anyhow::{Context, Result, ensure};
use cluster_tests::Namespace;
use cluster_tests::specs::{small, with};
use eventplatform_operator::crd::EventPlatform;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

/// Expects that the spec is refused with a message that contains `words`.
async fn refused(namespace: &Namespace, name: &str, spec: Value, words: &str) -> Result<()> {
    let error = match namespace.apply(name, spec.clone()).await {
        Ok(_) => anyhow::bail!("accepted: {spec}"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(error.contains(words), "expected {words:?}, got {error}");
    Ok(())
}

#[tokio::test]
async fn impossible_specs_are_refused_in_words_that_say_what_to_change() -> Result<()> {
    Namespace::with("admission", async |namespace| {
        let both = json!({ "postgres": { "managed": {}, "external": {
            "host": "db.example.org", "credentialsSecretRef": { "name": "db" },
        } } });
        refused(namespace, "both", both, "exactly one of managed and external").await?;
        refused(namespace, "a-name-that-is-longer-than-thirty-characters", json!({}), "30").await?;
        let none = json!({ "services": { "booking": { "replicas": 0 } } });
        refused(namespace, "none", none, "management: Stopped").await?;
        let stripe = json!({ "payments": { "provider": "Stripe" } });
        refused(namespace, "stripe", stripe, "credentialsSecretRef").await?;
        let members = json!({ "mongodb": { "managed": { "members": 2 } } });
        refused(namespace, "members", members, "1 or 3").await
    })
    .await
}

#[tokio::test]
async fn an_unknown_field_is_refused_under_strict_validation() -> Result<()> {
    Namespace::with("strict", async |namespace| {
        let manifest = json!({
            "apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform",
            "metadata": { "name": "demo", "namespace": namespace.name }, "spec": { "replicas": 3 },
        });
        let applied =
            cluster_tests::run("kubectl", &["create", "--validate=strict", "-f", "-"], &manifest.to_string()).await;

        let error = applied.err().context("accepted")?.to_string();
        ensure!(error.contains("unknown field \"spec.replicas\""), "{error}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn point_10_smaller_storage_another_class_and_another_mode_are_refused() -> Result<()> {
    Namespace::with("immutable", async |namespace| {
        // Stopped, so that nothing starts: only its spec matters here.
        let spec = with(small(), "/management", "Stopped");
        let spec = with(spec, "/postgres/managed/storage/className", "standard");
        namespace.apply("demo", spec.clone()).await?;

        let smaller = with(spec.clone(), "/postgres/managed/storage/size", "500Mi");
        refused(namespace, "demo", smaller, "shrink").await?;
        let class = with(spec.clone(), "/postgres/managed/storage/className", "other");
        refused(namespace, "demo", class, "className").await?;
        let external = json!({ "external": { "host": "db.example.org", "credentialsSecretRef": { "name": "db" } } });
        refused(namespace, "demo", with(spec, "/postgres", external), "cannot change between managed and external")
            .await
    })
    .await
}

#[tokio::test]
async fn defaults_are_filled_in_by_the_api_server() -> Result<()> {
    Namespace::with("defaults", async |namespace| {
        let api = namespace.api::<EventPlatform>();
        let spec = serde_json::from_value(json!({ "management": "Stopped" }))?;
        let made = api.create(&PostParams::default(), &EventPlatform::new("demo", spec)).await?;

        let spec = serde_json::to_value(&made.spec)?;
        ensure!(spec["postgres"]["managed"]["storage"]["size"] == "10Gi", "{spec}");
        ensure!(spec["deletion"]["policy"] == "Retain", "{spec}");
        api.delete("demo", &DeleteParams::default()).await?;
        Ok(())
    })
    .await
}
