//! Servers elsewhere.

use anyhow::{Result, ensure};
use cluster_tests::specs::{small, with};
use cluster_tests::{Namespace, REPAIR_LIMIT, message};
use eventplatform_operator::crd::ConditionStatus;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use serde_json::json;

use crate::main_platform;

#[tokio::test]
async fn point_14_external_mode_makes_no_stateful_set_and_reports_wrong_credentials() -> Result<()> {
    // The shared platform's PostgreSQL, which lets the operator in, is elsewhere for this one.
    main_platform::ready().await?;
    Namespace::with("external", async |namespace| {
        namespace.secret("database", json!({ "username": "postgres", "password": "not the password" })).await?;
        let host = format!("{0}-postgres.{1}.svc", main_platform::NAME, main_platform::NAMESPACE);
        let external = json!({ "external": {
            "host": host, "credentialsSecretRef": { "name": "database" }, "tls": { "mode": "Disable" },
        } });
        namespace.apply("demo", with(small(), "/postgres", external)).await?;

        let found =
            namespace.becomes("demo", "DependenciesReady", ConditionStatus::False, Some("AuthFailed"), REPAIR_LIMIT);
        let platform = found.await?;

        let said = message(&platform, "DependenciesReady");
        ensure!(said.contains("rejects the password"), "{said}");
        let names: Vec<String> =
            namespace.children::<StatefulSet>("demo").await?.iter().map(ResourceExt::name_any).collect();
        ensure!(!names.contains(&"demo-postgres".to_owned()), "{names:?}");
        Ok(())
    })
    .await
}
