//! What the operator does in each scenario.

use chrono::TimeDelta;
use eventplatform_operator::{program::Program, servers::ServerFailure};
use serde_json::json;

use crate::cluster::{Cluster, Scenario, pause};

fn position(writes: &[String], what: &str) -> usize {
    writes
        .iter()
        .position(|write| write.contains(what))
        .unwrap_or_else(|| panic!("{what} was not written: {writes:#?}"))
}

#[tokio::test]
async fn a_fresh_platform_comes_up_in_order_and_becomes_ready() {
    let mut cluster = Cluster::given(Scenario::Fresh).await;

    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    let writes = cluster.api.take_writes();
    let order = [
        "post secrets/demo-postgres-credentials",
        "patch networkpolicies/demo-deny-all",
        "patch statefulsets/demo-postgres",
        "patch jobs/demo-user-migrate",
        "patch deployments/demo-user",
        "patch ingresses/demo",
    ];
    let positions: Vec<usize> = order.iter().map(|what| position(&writes, what)).collect();
    assert!(positions.is_sorted(), "{positions:?} {writes:#?}");
    let platform = cluster.platform();
    let status = platform.status.unwrap();
    assert_eq!(status.url.as_deref(), Some("http://localhost:8080"));
    assert_eq!(status.services.len(), 6);
    assert!(status.services.iter().all(|service| service.ready == 1 && service.desired == 1));
    assert_eq!(status.dependencies[0].endpoint, "demo-postgres.shop.svc:5432");
    assert_eq!(status.dependencies[0].secret_name, "demo-postgres-credentials");
    assert!(cluster.api.take_events().contains(&"AsSpecified".to_owned()));
}

#[tokio::test]
async fn programs_wait_for_their_servers_and_say_so() {
    let mut cluster = Cluster::given(Scenario::Fresh).await;
    cluster.fail("postgres", Some(ServerFailure::Unreachable("PostgreSQL does not answer".into())));

    cluster.converge().await;

    assert_eq!(cluster.condition("DependenciesReady").1, "Unreachable");
    assert_eq!(cluster.condition("SchemaCurrent").1, "Migrating");
    assert!(cluster.api.get("deployments", "demo-event").is_some());
    assert!(cluster.api.get("deployments", "demo-user").is_none());
    assert_eq!(cluster.reconcile().await.unwrap(), pause(3));
    cluster.fail("postgres", None);
    cluster.converge().await;
    assert!(cluster.is_ready());
}

#[tokio::test]
async fn a_ready_platform_is_not_written() {
    let cluster = Cluster::given(Scenario::Ready).await;

    for _ in 0..3 {
        cluster.clock.advance(TimeDelta::seconds(60));
        assert_eq!(cluster.reconcile().await.unwrap(), pause(20));
    }

    assert_eq!(cluster.api.take_writes(), Vec::<String>::new());
    assert_eq!(cluster.api.take_events(), Vec::<String>::new());
}

#[tokio::test]
async fn a_ready_platform_is_not_written_after_a_restart() {
    let mut cluster = Cluster::given(Scenario::Specified(json!({
        "services": {"frontend": {"resources": {"requests": {"cpu": "0.5"}}}}
    })))
    .await;
    cluster.converge().await;
    assert!(cluster.is_ready());
    cluster.api.take_writes();

    cluster.restart_operator();
    cluster.reconcile().await.unwrap();

    assert_eq!(cluster.api.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn somebody_elses_object_is_left_alone() {
    let mut cluster = Cluster::given(Scenario::NameTaken).await;

    cluster.converge().await;

    let (status, reason, message) = cluster.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "NameTaken"));
    assert!(message.contains("Service demo-user exists and does not belong to this platform"), "{message}");
    assert_eq!(cluster.api.get("services", "demo-user").unwrap()["spec"], json!({"a": 1}));
    cluster.api.remove("services", "demo-user");
    cluster.converge().await;
    assert!(cluster.is_ready());
}

#[tokio::test]
async fn an_emptied_secret_is_reported_and_nothing_is_generated() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let kept = cluster.api.get("secrets", "demo-postgres-credentials").unwrap();
    let deployment = cluster.api.get("deployments", "demo-user").unwrap();
    cluster.api.edit("secrets", "demo-postgres-credentials", |secret| secret["data"] = json!({}));

    cluster.converge().await;

    let (status, reason, message) = cluster.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "CredentialLost"));
    assert!(message.contains("demo-postgres-credentials has no admin-password"), "{message}");
    assert_eq!(cluster.condition("Available").0, "True");
    assert_eq!(cluster.api.take_writes(), ["patch eventplatforms/demo/status"]);
    assert_eq!(cluster.api.get("deployments", "demo-user").unwrap(), deployment);
    cluster.api.edit("secrets", "demo-postgres-credentials", |secret| secret["data"] = kept["data"].clone());
    cluster.converge().await;
    assert!(cluster.is_ready());
    assert_eq!(cluster.api.get("deployments", "demo-user").unwrap(), deployment);
}

#[tokio::test]
async fn a_lost_secret_is_not_regenerated_over_old_volumes() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let kept = cluster.api.get("secrets", "demo-mongodb-credentials").unwrap();
    cluster.api.remove("secrets", "demo-mongodb-credentials");

    cluster.converge().await;

    assert_eq!(cluster.condition("Degraded").1, "CredentialLost");
    assert!(cluster.api.get("secrets", "demo-mongodb-credentials").is_none());
    cluster.api.put("secrets", kept);
    cluster.converge().await;
    assert!(cluster.is_ready());
}

#[tokio::test]
async fn a_platform_from_before_ticket_keys_gets_them_and_lost_ones_are_reported() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.api.remove("secrets", "demo-ticket-keys");
    for secret in cluster.api.list("secrets") {
        let name = secret["metadata"]["name"].as_str().unwrap();
        cluster.api.edit("secrets", name, |secret| secret["metadata"]["annotations"] = json!({}));
    }

    cluster.converge().await;
    let (ready, made) = (cluster.is_ready(), cluster.api.get("secrets", "demo-ticket-keys"));
    cluster.api.remove("secrets", "demo-ticket-keys");
    cluster.converge().await;

    assert!(ready && made.is_some());
    let lost = cluster.condition("Degraded");
    assert_eq!(lost.1, "CredentialLost");
    assert!(lost.2.contains("demo-ticket-keys"), "{}", lost.2);
}

/// A platform from an older release: its RabbitMQ has no login of user-service.
async fn of_an_older_release() -> Cluster {
    let cluster = Cluster::given(Scenario::Ready).await;
    cluster.api.edit("secrets", RABBITMQ, |secret| {
        secret["data"].as_object_mut().unwrap().remove("user-password");
    });
    cluster
}

const RABBITMQ: &str = "demo-rabbitmq-credentials";

#[tokio::test]
async fn a_login_that_a_newer_release_needs_is_added_to_an_existing_secret() {
    let mut cluster = of_an_older_release().await;
    let before = cluster.api.get("secrets", RABBITMQ).unwrap();

    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    let mut after = cluster.api.get("secrets", RABBITMQ).unwrap();
    assert!(!cluster.api.take_events().contains(&"CredentialLost".to_owned()));
    assert!(after["data"].as_object_mut().unwrap().remove("user-password").is_some());
    assert_eq!(after["data"], before["data"]);
    let writes = cluster.api.take_writes();
    assert_eq!(writes.iter().filter(|write| write.contains(RABBITMQ)).count(), 1, "{writes:#?}");
}

#[tokio::test]
async fn adding_a_login_is_tried_again_when_somebody_else_writes_the_secret() {
    let mut cluster = of_an_older_release().await;
    cluster.api.contend(RABBITMQ);

    let first = cluster.reconcile().await;

    assert_eq!(first.unwrap_err().reason(), "Conflict");
    assert!(cluster.api.get("secrets", RABBITMQ).unwrap()["data"].get("user-password").is_none());
    cluster.converge().await;
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    let secret = cluster.api.get("secrets", RABBITMQ).unwrap();
    assert!(secret["data"].get("user-password").is_some());
    assert_eq!(secret["metadata"]["annotations"]["written-by"], "somebody else");
}

#[tokio::test]
async fn a_key_that_cannot_be_replaced_stays_lost_and_no_login_is_generated_beside_it() {
    let mut cluster = of_an_older_release().await;
    cluster.api.edit("secrets", RABBITMQ, |secret| {
        secret["data"].as_object_mut().unwrap().remove("erlang-cookie");
    });
    let before = cluster.api.get("secrets", RABBITMQ).unwrap();

    cluster.converge().await;

    let (status, reason, message) = cluster.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "CredentialLost"));
    assert!(message.contains("has no user-password, erlang-cookie"), "{message}");
    assert_eq!(cluster.api.get("secrets", RABBITMQ).unwrap(), before);
}

#[tokio::test]
async fn secrets_and_keys_that_no_older_release_generated_are_not_lost() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let record = "platform.eventbooking.dev/generated";
    for secret in cluster.api.list("secrets") {
        let Some(generated) = secret["metadata"]["annotations"][record].as_str() else { continue };
        let known: Vec<&str> = generated
            .split(',')
            .filter(|entry| !entry.starts_with("mock-gateway-credentials/") && !entry.ends_with("/erlang-cookie"))
            .collect();
        let (name, known) = (secret["metadata"]["name"].as_str().unwrap(), known.join(","));
        cluster.api.edit("secrets", name, |secret| secret["metadata"]["annotations"][record] = json!(known));
    }
    cluster.api.edit("secrets", RABBITMQ, |secret| {
        secret["data"].as_object_mut().unwrap().remove("erlang-cookie");
    });
    cluster.api.remove("secrets", "demo-mock-gateway-credentials");

    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    assert!(cluster.api.get("secrets", RABBITMQ).unwrap()["data"]["erlang-cookie"].is_string());
    // From now on it is known, and lost if it is gone.
    cluster.api.remove("secrets", "demo-mock-gateway-credentials");
    cluster.converge().await;
    assert_eq!(cluster.condition("Degraded").1, "CredentialLost");
}

#[tokio::test]
async fn credentials_of_a_release_without_a_record_get_one() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    for secret in cluster.api.list("secrets") {
        let name = secret["metadata"]["name"].as_str().unwrap();
        cluster.api.edit("secrets", name, |secret| secret["metadata"]["annotations"] = json!({}));
    }

    cluster.converge().await;
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    let secret = cluster.api.get("secrets", RABBITMQ).unwrap();
    assert!(
        secret["metadata"]["annotations"]["platform.eventbooking.dev/generated"]
            .as_str()
            .unwrap()
            .contains("rabbitmq-credentials/erlang-cookie")
    );
    cluster.api.take_writes();
    cluster.converge().await;

    assert_eq!(cluster.api.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn programs_that_change_wait_until_rabbitmq_has_the_new_logins() {
    let mut cluster = of_an_older_release().await;
    let deployment = |cluster: &Cluster, name: &str| cluster.api.get("deployments", name).unwrap();
    let (user, booking) = (deployment(&cluster, "demo-user"), deployment(&cluster, "demo-booking"));
    cluster.specify(|spec| *spec = json!({"services": {"frontend": {"logLevel": "debug"}}}));
    cluster.slow = Some("demo-rabbitmq");

    cluster.converge().await;
    assert_eq!(deployment(&cluster, "demo-user"), user);
    assert_eq!(deployment(&cluster, "demo-booking"), booking);
    assert_eq!(cluster.condition("Ready").1, "Starting");
    let writes = cluster.api.take_writes();
    assert!(position(&writes, "statefulsets/demo-rabbitmq") < position(&writes, "deployments/demo-frontend"));

    // The new pod exists, but has not been ready yet.
    cluster.api.edit("statefulsets", "demo-rabbitmq", |set| {
        set["status"] = json!({
            "observedGeneration": set["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1,
            "currentRevision": "old", "updateRevision": "new",
        });
    });
    cluster.converge().await;
    assert_eq!(deployment(&cluster, "demo-user"), user);

    cluster.slow = None;
    cluster.converge().await;
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    assert_ne!(deployment(&cluster, "demo-user")["spec"], user["spec"]);
    assert_eq!(deployment(&cluster, "demo-booking")["spec"], booking["spec"]);
}

#[tokio::test]
async fn a_rabbitmq_that_is_down_blocks_no_program() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.slow = Some("demo-rabbitmq");
    cluster.api.edit("statefulsets", "demo-rabbitmq", |set| set["status"]["readyReplicas"] = json!(0));
    cluster.fail("rabbitmq", Some(ServerFailure::Unreachable("RabbitMQ does not answer".into())));
    let before = cluster.api.get("deployments", "demo-booking").unwrap();

    cluster.specify(|spec| *spec = json!({"services": {"booking": {"logLevel": "debug"}}}));
    cluster.converge().await;

    assert_eq!(cluster.condition("DependenciesReady").0, "False");
    assert_ne!(cluster.api.get("deployments", "demo-booking").unwrap()["spec"], before["spec"]);
}

#[tokio::test]
async fn a_new_platform_uses_retained_credentials() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let before = cluster.api.get("secrets", "demo-signing-keys").unwrap();
    let platform = cluster.api.get("eventplatforms", "demo").unwrap();
    cluster.delete_platform();
    assert!(cluster.api.get("deployments", "demo-user").is_none());
    assert!(cluster.api.get("secrets", "demo-signing-keys").is_some());

    let new = json!({"apiVersion": platform["apiVersion"], "kind": platform["kind"], "metadata": {"name": "demo"}, "spec": {}});
    cluster.api.put("eventplatforms", new);
    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    assert_eq!(cluster.api.get("secrets", "demo-signing-keys").unwrap()["data"], before["data"]);
}

#[tokio::test]
async fn under_delete_credentials_go_with_the_platform() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let before = cluster.api.get("secrets", "demo-postgres-credentials").unwrap();

    cluster.specify(|spec| *spec = json!({"deletion": {"policy": "Delete"}}));
    cluster.converge().await;

    let after = cluster.api.get("secrets", "demo-postgres-credentials").unwrap();
    assert_eq!(after["data"], before["data"]);
    assert_eq!(after["metadata"]["ownerReferences"][0]["kind"], "EventPlatform");
    cluster.specify(|spec| *spec = json!({"deletion": {"policy": "Retain"}}));
    cluster.converge().await;
    let back = cluster.api.get("secrets", "demo-postgres-credentials").unwrap();
    assert_eq!(back["data"], before["data"]);
    assert!(back["metadata"].get("ownerReferences").is_none());
    cluster.specify(|spec| *spec = json!({"deletion": {"policy": "Delete"}}));
    cluster.converge().await;
    cluster.delete_platform();
    let left = cluster.api.names();
    assert!(left.iter().all(|name| name.starts_with("persistentvolumeclaims/")), "{left:?}");
}

#[tokio::test]
async fn credentials_made_under_delete_are_kept_once_the_policy_is_retain() {
    let mut cluster = Cluster::given(Scenario::Specified(json!({"deletion": {"policy": "Delete"}}))).await;
    cluster.converge().await;
    let somebody = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "backup", "uid": "other"});
    cluster.api.edit("secrets", "demo-signing-keys", |secret| {
        secret["metadata"]["ownerReferences"].as_array_mut().unwrap().push(somebody.clone());
    });
    let before = cluster.api.get("secrets", "demo-postgres-credentials").unwrap();
    assert_eq!(before["metadata"]["ownerReferences"][0]["kind"], "EventPlatform");

    cluster.specify(|spec| *spec = json!({"deletion": {"policy": "Retain"}}));
    cluster.converge().await;
    let shared = cluster.api.get("secrets", "demo-signing-keys").unwrap();
    assert_eq!(shared["metadata"]["ownerReferences"], json!([somebody]));
    cluster.api.edit("secrets", "demo-signing-keys", |secret| secret["metadata"]["ownerReferences"] = json!([]));
    let platform = cluster.api.get("eventplatforms", "demo").unwrap();
    cluster.delete_platform();
    let after = cluster.api.get("secrets", "demo-postgres-credentials").unwrap();
    assert_eq!(after["data"], before["data"]);
    let new = json!({"apiVersion": platform["apiVersion"], "kind": platform["kind"], "metadata": {"name": "demo"}, "spec": {}});
    cluster.api.put("eventplatforms", new);
    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    assert_eq!(cluster.api.get("secrets", "demo-postgres-credentials").unwrap()["data"], before["data"]);
}

#[tokio::test]
async fn paused_means_only_the_status_is_written() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.specify(|spec| *spec = json!({"management": "Paused"}));
    cluster.api.edit("deployments", "demo-user", |deployment| deployment["spec"]["replicas"] = json!(7));
    cluster.api.remove("services", "demo-event");

    cluster.converge().await;

    assert!(cluster.api.take_writes().iter().all(|write| write == "patch eventplatforms/demo/status"));
    assert_eq!(cluster.condition("Paused").0, "True");
    assert_eq!(cluster.condition("Ready").0, "Unknown");
    cluster.specify(|spec| *spec = json!({}));
    cluster.converge().await;
    assert!(cluster.is_ready());
    assert_eq!(cluster.api.get("deployments", "demo-user").unwrap()["spec"]["replicas"], 1);
}

#[tokio::test]
async fn stopped_means_no_pods_and_no_data_lost() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.specify(|spec| *spec = json!({"management": "Stopped"}));

    cluster.converge().await;

    for plural in ["deployments", "statefulsets"] {
        for object in cluster.api.list(plural) {
            assert_eq!(object["spec"]["replicas"], 0, "{}", object["metadata"]["name"]);
        }
    }
    let writes = cluster.api.take_writes();
    assert!(
        position(&writes, "deployments/demo-user") < position(&writes, "statefulsets/demo-postgres"),
        "{writes:#?}"
    );
    assert_eq!(cluster.condition("Ready").1, "Stopped");
    assert_eq!(cluster.api.list("persistentvolumeclaims").len(), 3);
    cluster.specify(|spec| *spec = json!({}));
    cluster.converge().await;
    assert!(cluster.is_ready());
}

#[tokio::test]
async fn the_servers_stop_once_the_pods_of_the_programs_have_ended() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let labels = json!({
        "app.kubernetes.io/instance": "demo", "app.kubernetes.io/managed-by": "eventplatform-operator",
        "app.kubernetes.io/component": "booking",
    });
    let metadata = json!({"name": "draining", "labels": labels, "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}});
    cluster.api.put("pods", pod);

    cluster.specify(|spec| *spec = json!({"management": "Stopped"}));
    cluster.converge().await;

    assert_eq!(cluster.api.get("deployments", "demo-booking").unwrap()["spec"]["replicas"], 0);
    assert_eq!(cluster.api.get("statefulsets", "demo-postgres").unwrap()["spec"]["replicas"], 1);
    assert_eq!(cluster.reconcile().await.unwrap(), pause(3));
    cluster.api.remove("pods", "draining");
    cluster.converge().await;
    assert_eq!(cluster.api.get("statefulsets", "demo-postgres").unwrap()["spec"]["replicas"], 0);
    assert_eq!(cluster.reconcile().await.unwrap(), pause(20));
}

#[tokio::test]
async fn what_somebody_deletes_or_changes_is_restored_with_an_event() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.api.edit("deployments", "demo-user", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x");
    });
    cluster.api.edit("networkpolicies", "demo-postgres", |object| object["spec"]["egress"] = json!([{}]));
    cluster.api.remove("services", "demo-event");

    cluster.converge().await;

    assert!(cluster.is_ready());
    assert_ne!(
        cluster.api.get("deployments", "demo-user").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"],
        "x"
    );
    assert_ne!(cluster.api.get("networkpolicies", "demo-postgres").unwrap()["spec"]["egress"], json!([{}]));
    assert!(cluster.api.get("services", "demo-event").is_some());
    assert!(cluster.api.take_events().iter().filter(|event| *event == "Restored").count() >= 3);
}

#[tokio::test]
async fn what_a_webhook_makes_of_an_object_is_not_restored_after_a_restart() {
    let mut cluster = Cluster::given(Scenario::Fresh).await;
    cluster.api.mirror_images();
    cluster.converge().await;
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    cluster.api.take_events();

    cluster.restart_operator();
    cluster.converge().await;

    assert_eq!(cluster.api.take_events(), Vec::<String>::new());
    assert!(cluster.is_ready());
}

#[tokio::test]
async fn undesired_objects_are_pruned() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.api.put(
        "secrets",
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stripe"},
        "data": {"api-key": "YQ==", "webhook-secret": "Yg=="}}),
    );

    let payments = json!({"provider": "Stripe", "credentialsSecretRef": {"name": "stripe"}});
    cluster.specify(|spec| *spec = json!({"payments": payments, "exposure": {"type": "None"}}));
    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    let names = cluster.api.names();
    let left: Vec<&String> = names.iter().filter(|name| name.contains("mock-gateway")).collect();
    assert_eq!(left, ["secrets/demo-mock-gateway-credentials"]);
    assert!(cluster.api.list("ingresses").is_empty());
    assert!(cluster.api.get("secrets", "stripe").is_some());
}

#[tokio::test]
async fn undesired_fields_are_removed() {
    let mut cluster =
        Cluster::given(Scenario::Specified(json!({"exposure": {"className": "nginx", "annotations": {"a": "b"}}})))
            .await;
    cluster.converge().await;

    cluster.specify(|spec| *spec = json!({}));
    cluster.converge().await;

    let ingress = cluster.api.get("ingresses", "demo").unwrap();
    assert!(ingress["spec"].get("ingressClassName").is_none());
    assert!(ingress["metadata"]["annotations"].get("a").is_none());
}

#[tokio::test]
async fn a_failed_migration_leaves_the_old_version_serving() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let image = |cluster: &Cluster| {
        let deployment = cluster.api.get("deployments", "demo-booking").unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    let old = image(&cluster);
    cluster.migrations_fail = true;
    // Those that are complete stay so.
    for job in cluster.api.list("jobs") {
        cluster.api.remove("jobs", job["metadata"]["name"].as_str().unwrap());
    }
    cluster.specify(|spec| *spec = json!({"image": {"tag": "bad"}}));

    cluster.converge().await;

    assert_eq!(image(&cluster), old);
    assert!(old.ends_with(&format!(":{}", cluster.platform().status.unwrap().version.unwrap())), "{old}");
    assert_eq!(cluster.condition("SchemaCurrent").1, "MigrationFailed");
    assert_eq!(cluster.condition("Available").0, "True");
    let (_, reason, message) = cluster.condition("Degraded");
    assert_eq!(reason, "MigrationFailed");
    assert!(
        message.contains("booking failed") && message.contains("kubectl logs job/demo-booking-migrate-"),
        "{message}"
    );
    let mut jobs = cluster.api.list("jobs").into_iter().map(|job| job["metadata"]["name"].as_str().unwrap().to_owned());
    let job = jobs.find(|name| name.starts_with("demo-booking-migrate-")).unwrap();
    let labels = json!({
        "app.kubernetes.io/instance": "demo", "app.kubernetes.io/managed-by": "eventplatform-operator",
        "batch.kubernetes.io/job-name": job,
    });
    let ended = json!({"terminated": {"exitCode": 2, "message": "error: no such\ncolumn\n"}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("{job}-x"), "labels": labels},
        "status": {"containerStatuses": [{"state": ended}]}});
    cluster.api.put("pods", pod);
    cluster.reconcile().await.unwrap();
    let (_, _, message) = cluster.condition("Degraded");
    assert!(message.contains("log: error: no such column; see"), "{message}");
    cluster.migrations_fail = false;
    cluster.clock.advance(TimeDelta::seconds(301));
    cluster.reconcile().await.unwrap();
    cluster.converge().await;
    assert!(cluster.is_ready());
    assert!(image(&cluster).ends_with(":bad"));
    assert_eq!(cluster.platform().status.unwrap().version.as_deref(), Some("bad"));
    assert_eq!(cluster.api.list("jobs").len(), 5);
}

/// A pod of a migration that cannot start, and one of a server that cannot be created.
#[tokio::test]
async fn what_keeps_a_migration_from_running_is_named_at_once() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.migrations_hang = true;
    cluster.specify(|spec| *spec = json!({"image": {"tag": "wrong"}}));
    cluster.reconcile().await.unwrap();
    let job = |cluster: &Cluster, program: &str| {
        let mut jobs = cluster.api.list("jobs").into_iter();
        jobs.find(|job| {
            let name = job["metadata"]["name"].as_str().unwrap();
            name.contains(&format!("{program}-migrate")) && job.get("status").is_none()
        })
        .unwrap()
    };
    let name = job(&cluster, "booking")["metadata"]["name"].clone();
    let labels = json!({
        "app.kubernetes.io/instance": "demo", "app.kubernetes.io/managed-by": "eventplatform-operator",
        "app.kubernetes.io/component": "booking-migrate", "batch.kubernetes.io/job-name": name,
    });
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"x:wrong\""}});
    cluster.api.put(
        "pods",
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "booking-migrate-x", "labels": labels},
            "status": {"containerStatuses": [{"state": waiting}]}}),
    );
    let event = |note: &str, time: &str| {
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": time}, "reason": "FailedCreate",
            "regarding": {"uid": job(&cluster, "user")["metadata"]["uid"]}, "note": note, "deprecatedLastTimestamp": time})
    };
    cluster.api.put("events", event("exceeded quota: pods=5", "2026-01-01T00:00:02Z"));
    cluster.api.put("events", event("older words", "2026-01-01T00:00:01Z"));

    cluster.reconcile().await.unwrap();

    let (_, reason, message) = cluster.condition("SchemaCurrent");
    assert_eq!(reason, "Migrating");
    assert!(message.contains("ImagePullBackOff Back-off pulling image \"x:wrong\""), "{message}");
    assert!(message.contains("exceeded quota: pods=5") && !message.contains("older words"), "{message}");
}

#[tokio::test]
async fn what_keeps_pods_from_being_created_is_named() {
    let cluster = Cluster::given(Scenario::Ready).await;
    cluster.api.edit("deployments", "demo-user", |deployment| {
        let message = "pods \"demo-user-x\" is forbidden: exceeded quota: pods=5";
        deployment["status"] = json!({
            "observedGeneration": deployment["metadata"]["generation"], "replicas": 0,
            "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}],
        });
    });
    let uid = cluster.api.get("statefulsets", "demo-mongodb").unwrap()["metadata"]["uid"].clone();
    let set_pods = |count: i64| {
        cluster.api.edit("statefulsets", "demo-mongodb", |set| {
            for field in ["replicas", "readyReplicas", "updatedReplicas"] {
                set["status"][field] = json!(count);
            }
        });
    };
    set_pods(0);
    cluster.api.put(
        "events",
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "FailedCreate",
            "regarding": {"uid": uid}, "note": "violates PodSecurity"}),
    );

    cluster.reconcile().await.unwrap();

    let (_, _, message) = cluster.condition("DependenciesReady");
    assert!(message.contains("demo-mongodb has 0 of 1 pods ready: violates PodSecurity"), "{message}");
    let platform = cluster.platform();
    assert_eq!(cluster.condition("Available").1, "NoPods", "{platform:?}");
    set_pods(1);
    cluster.reconcile().await.unwrap();
    let (_, _, message) = cluster.condition("Ready");
    assert!(message.contains("exceeded quota"), "{message}");
}

#[tokio::test]
async fn an_emptied_database_is_migrated_again() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let job = |cluster: &Cluster| {
        let jobs = cluster.api.list("jobs");
        let of_booking =
            |job: &&serde_json::Value| job["metadata"]["name"].as_str().unwrap().contains("booking-migrate");
        jobs.iter().find(of_booking).map(|job| job["metadata"]["uid"].clone())
    };
    let before = job(&cluster);
    cluster.empty_database(Program::Booking);

    cluster.reconcile().await.unwrap();

    assert_eq!(job(&cluster), None);
    let (status, reason, message) = cluster.condition("SchemaCurrent");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Migrating"));
    assert!(message.contains("the database of booking has been emptied"), "{message}");
    cluster.converge().await;
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    assert_ne!(job(&cluster), before);
}

fn external_servers() -> serde_json::Value {
    json!({
        "postgres": {"external": {"host": "pg", "credentialsSecretRef": {"name": "db"}, "tls": {"mode": "Disable"}}},
        "mongodb": {"external": {"hosts": ["mongo:1"], "credentialsSecretRef": {"name": "db"}, "tls": {"mode": "Disable"}}},
        "rabbitmq": {"external": {"host": "mq", "credentialsSecretRef": {"name": "db"}, "tls": {"mode": "Disable"}}},
    })
}

async fn on_external_servers() -> Cluster {
    let mut cluster = Cluster::given(Scenario::Specified(external_servers())).await;
    let data = json!({"username": "cm9vdA==", "password": "cm9vdA=="});
    cluster.api.put("secrets", json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": data}));
    cluster.converge().await;
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    cluster
}

/// Prefix on PostgreSQL and MongoDB, and virtual host, as the status says.
fn names(cluster: &Cluster) -> (Option<String>, Option<String>, Option<String>) {
    let mut dependencies = cluster.platform().status.unwrap().dependencies.into_iter();
    let (postgres, mongodb) = (dependencies.next().unwrap().prefix, dependencies.next().unwrap().prefix);
    (postgres, mongodb, dependencies.next().unwrap().vhost)
}

#[tokio::test]
async fn names_on_external_servers_are_kept_when_a_platform_is_made_anew() {
    let mut cluster = on_external_servers().await;
    let (postgres, mongodb, vhost) = names(&cluster);
    let prefix = postgres.clone().unwrap();
    assert!(prefix.starts_with("shop_demo_") && prefix.len() > "shop_demo_".len(), "{prefix}");
    assert_eq!((postgres, vhost.as_deref()), (mongodb, Some("shop.demo")));

    cluster.delete_platform();
    cluster.api.put(
        "eventplatforms",
        json!({"apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform", "metadata": {"name": "demo"},
            "spec": external_servers()}),
    );
    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    assert_eq!(names(&cluster).0, Some(prefix));
}

#[tokio::test]
async fn a_platform_of_an_older_release_keeps_its_names_on_external_servers() {
    let mut cluster = on_external_servers().await;
    cluster.api.remove("secrets", "demo-identity");
    for secret in cluster.api.list("secrets") {
        let name = secret["metadata"]["name"].as_str().unwrap();
        cluster.api.edit("secrets", name, |secret| secret["metadata"]["annotations"] = json!({}));
    }
    cluster.api.edit("eventplatforms", "demo", |platform| platform["status"] = json!(null));

    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    let prefix = Some("shop_demo_".to_owned());
    assert_eq!(names(&cluster), (prefix.clone(), prefix, Some("/".to_owned())));
}

#[tokio::test]
async fn names_that_somebody_else_has_are_reported_and_pods_go_on() {
    let mut cluster = on_external_servers().await;
    let before = cluster.api.get("deployments", "demo-user").unwrap();
    cluster.fail("postgres", Some(ServerFailure::NameTaken("role x exists".into())));

    cluster.converge().await;

    let (status, reason, message) = cluster.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "NameTaken"));
    assert!(message.contains("role x exists"), "{message}");
    assert_eq!(cluster.api.get("deployments", "demo-user").unwrap()["spec"], before["spec"]);
}

#[tokio::test]
async fn an_autoscaler_keeps_the_pods_it_finds() {
    let mut cluster = Cluster::given(Scenario::Specified(json!({"services": {"booking": {"replicas": 3}}}))).await;
    cluster.converge().await;

    cluster.specify(|spec| *spec = json!({"services": {"booking": {"autoscaling": {"maxReplicas": 6}}}}));
    cluster.converge().await;

    let replicas =
        |cluster: &Cluster| cluster.api.get("deployments", "demo-booking").unwrap()["spec"]["replicas"].clone();
    assert_eq!(replicas(&cluster), 3);
    assert!(cluster.is_ready());
    cluster.api.edit("deployments", "demo-booking", |deployment| deployment["spec"]["replicas"] = json!(5));
    cluster.converge().await;
    assert_eq!(replicas(&cluster), 5);
    cluster.specify(|spec| {
        *spec = json!({"management": "Stopped", "services": {"booking": {"autoscaling": {"maxReplicas": 6}}}});
    });
    cluster.converge().await;
    assert_eq!(replicas(&cluster), 0);
    cluster.specify(|spec| *spec = json!({"services": {"booking": {"autoscaling": {"maxReplicas": 6}}}}));
    cluster.converge().await;
    assert_eq!(replicas(&cluster), 1);
}

#[tokio::test]
async fn volumes_grow_and_their_stateful_set_is_made_anew_around_them() {
    let mut cluster = Cluster::given(Scenario::Ready).await;

    cluster.specify(|spec| *spec = json!({"postgres": {"managed": {"storage": {"size": "20Gi"}}}}));
    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    let claim = cluster.api.get("persistentvolumeclaims", "data-demo-postgres-0").unwrap();
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "20Gi");
    let writes = cluster.api.take_writes();
    assert!(position(&writes, "delete statefulsets/demo-postgres") < writes.len());
    let set = cluster.api.get("statefulsets", "demo-postgres").unwrap();
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "20Gi");
}

#[tokio::test]
async fn volumes_that_cannot_grow_are_reported_and_keep_nothing_else_from_changing() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.api.forbid_expansion();

    let resources = json!({"limits": {"memory": "2Gi"}});
    cluster.specify(|spec| {
        *spec = json!({"postgres": {"managed": {"storage": {"size": "20Gi"}, "resources": resources}}});
    });
    cluster.converge().await;

    let (status, reason, message) = cluster.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Refused"));
    assert!(message.contains("data-demo-postgres-0") && message.contains("must support resize"), "{message}");
    let set = cluster.api.get("statefulsets", "demo-postgres").unwrap();
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"], "2Gi");
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "10Gi");
    assert_eq!(cluster.platform().status.unwrap().dependencies[0].storage.as_deref(), Some("10Gi"));
    cluster.specify(|spec| *spec = json!({"postgres": {"managed": {"storage": {"size": "10Gi"}}}}));
    cluster.converge().await;
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
}

#[tokio::test]
async fn what_outlives_a_platform_is_not_pruned_by_argo_cd() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.converge().await;

    let credentials = cluster.api.list("secrets").into_iter();
    let credentials = credentials.filter(|secret| secret["metadata"].get("ownerReferences").is_none());
    let kept: Vec<_> = credentials.chain(cluster.api.list("persistentvolumeclaims")).collect();
    assert_eq!(kept.len(), 9 + 3);
    for object in kept {
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations["argocd.argoproj.io/sync-options"], "Prune=false,Delete=false", "{object:#}");
        assert_eq!(annotations["argocd.argoproj.io/compare-options"], "IgnoreExtraneous");
    }
}

#[tokio::test]
async fn a_major_step_of_a_server_is_refused_and_the_old_version_goes_on() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let image = |cluster: &Cluster| server_image(cluster, "postgres");
    let with = |image: &str| json!({"postgres": {"managed": {"image": image}}});

    cluster.specify(|spec| *spec = with("docker.io/library/postgres:18"));
    cluster.converge().await;

    let (status, reason, message) = cluster.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "MajorStepRefused"));
    assert!(message.contains("postgres:18 is a major step from docker.io/library/postgres:17"), "{message}");
    assert_eq!(image(&cluster), "docker.io/library/postgres:17");
    cluster.specify(|spec| *spec = with("docker.io/library/postgres:17.2"));
    cluster.converge().await;
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    assert_eq!(image(&cluster), "docker.io/library/postgres:17.2");
    let postgres = cluster.platform().status.unwrap().dependencies.remove(0);
    assert_eq!(postgres.version.as_deref(), Some("17.2"));

    // What wrote the data is known without the platform, too.
    cluster.delete_platform();
    cluster.api.put(
        "eventplatforms",
        json!({"apiVersion": "platform.eventbooking.dev/v1alpha1", "kind": "EventPlatform", "metadata": {"name": "demo"},
            "spec": with("docker.io/library/postgres:16")}),
    );
    cluster.converge().await;
    assert_eq!(cluster.condition("Degraded").1, "MajorStepRefused");
    assert_eq!(image(&cluster), "docker.io/library/postgres:17.2");
}

/// The image in the StatefulSet of a server.
fn server_image(cluster: &Cluster, server: &str) -> String {
    let set = cluster.api.get("statefulsets", &format!("demo-{server}")).unwrap();
    set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

/// The image that is recorded on the volume of a server.
fn recorded_image(cluster: &Cluster, server: &str) -> Option<String> {
    let claim = cluster.api.get("persistentvolumeclaims", &format!("data-demo-{server}-0")).unwrap();
    claim["metadata"]["annotations"]["platform.eventbooking.dev/image"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_mistyped_image_of_a_new_platform_can_be_corrected() {
    for (server, mistyped, right) in [
        ("postgres", "postgres:71", "postgres:17"),
        ("postgres", "postgres:sevnteen", "postgres:17"),
        ("mongodb", "mongo:80", "mongo:8.0"),
        ("rabbitmq", "rabbitmq:44-management", "rabbitmq:4.1-management"),
    ] {
        let with = |image: &str| json!({server: {"managed": {"image": image}}});
        let mut cluster = Cluster::given(Scenario::Specified(with(mistyped))).await;
        cluster.missing_images = vec![mistyped];

        cluster.converge().await;

        assert!(!cluster.is_ready(), "{mistyped}");
        let (_, _, message) = cluster.condition("DependenciesReady");
        assert!(message.contains(&format!("ImagePullBackOff Back-off pulling image {mistyped:?}")), "{message}");
        assert_eq!(recorded_image(&cluster, server), None, "{mistyped} has never run");
        cluster.specify(|spec| *spec = with(right));
        cluster.converge().await;
        assert!(cluster.is_ready(), "{mistyped}: {:?} {:?}", cluster.condition("Ready"), cluster.condition("Degraded"));
        assert_eq!(server_image(&cluster, server), right);
        assert_eq!(recorded_image(&cluster, server).as_deref(), Some(right));
    }
}

#[tokio::test]
async fn a_mistyped_image_of_a_running_platform_can_be_corrected() {
    for mistyped in ["postgres:17.99", "postgres:sevnteen"] {
        let mut cluster = Cluster::given(Scenario::Ready).await;
        let default = server_image(&cluster, "postgres");
        assert_eq!(recorded_image(&cluster, "postgres").as_ref(), Some(&default));
        cluster.missing_images = vec![mistyped];
        cluster.specify(|spec| *spec = json!({"postgres": {"managed": {"image": mistyped}}}));

        cluster.converge().await;

        assert!(!cluster.is_ready(), "{mistyped}");
        assert_eq!(server_image(&cluster, "postgres"), mistyped);
        assert_eq!(recorded_image(&cluster, "postgres").as_ref(), Some(&default), "{mistyped} has never run");
        // What last ran still decides which step is a major one.
        cluster.specify(|spec| *spec = json!({"postgres": {"managed": {"image": "postgres:18"}}}));
        cluster.converge().await;
        assert_eq!(cluster.condition("Degraded").1, "MajorStepRefused");
        assert!(cluster.condition("Degraded").2.contains(&default));
        cluster.specify(|spec| *spec = json!({}));
        cluster.converge().await;
        assert!(cluster.is_ready(), "{mistyped}: {:?} {:?}", cluster.condition("Ready"), cluster.condition("Degraded"));
        assert_eq!(server_image(&cluster, "postgres"), default);
        assert_eq!(recorded_image(&cluster, "postgres").as_ref(), Some(&default));
    }
}

#[tokio::test]
async fn a_server_without_a_record_is_adopted_with_what_it_runs() {
    let with = |image: &str| json!({"postgres": {"managed": {"image": image}}});
    for management in ["Managed", "Stopped"] {
        let mut cluster = Cluster::given(Scenario::Specified(with("postgres:16"))).await;
        cluster.converge().await;
        cluster.specify(|spec| spec["management"] = json!(management));
        cluster.converge().await;
        // As a release without records has left it, when this one with another default takes over.
        cluster.api.edit("persistentvolumeclaims", "data-demo-postgres-0", |claim| {
            claim["metadata"]["annotations"].as_object_mut().unwrap().remove("platform.eventbooking.dev/image");
        });
        cluster.restart_operator();

        cluster.specify(|spec| *spec = json!({}));
        cluster.converge().await;

        assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
        assert_eq!(server_image(&cluster, "postgres"), "postgres:16", "{management}");
        assert_eq!(recorded_image(&cluster, "postgres").as_deref(), Some("postgres:16"));
    }
}

#[tokio::test]
async fn servers_are_updated_one_at_a_time() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let requests = json!({"requests": {"memory": "512Mi"}});
    let managed = json!({"managed": {"resources": requests}});
    cluster.slow = Some("demo-postgres");
    cluster.specify(|spec| *spec = json!({"postgres": managed, "mongodb": managed, "rabbitmq": managed}));
    let is_updated = |cluster: &Cluster, name: &str| {
        let set = cluster.api.get("statefulsets", name).unwrap();
        set["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"] == "512Mi"
    };

    cluster.converge().await;

    assert!(is_updated(&cluster, "demo-postgres"));
    assert!(!is_updated(&cluster, "demo-mongodb") && !is_updated(&cluster, "demo-rabbitmq"));
    assert!(!cluster.is_ready());
    cluster.slow = None;
    cluster.converge().await;
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    assert!(is_updated(&cluster, "demo-mongodb") && is_updated(&cluster, "demo-rabbitmq"));
}

#[tokio::test]
async fn rabbitmq_grows_by_one_node_at_a_time() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    let replicas =
        |cluster: &Cluster| cluster.api.get("statefulsets", "demo-rabbitmq").unwrap()["spec"]["replicas"].clone();
    cluster.slow = Some("demo-rabbitmq");
    cluster.specify(|spec| *spec = json!({"rabbitmq": {"managed": {"replicas": 3}}}));

    cluster.converge().await;
    assert_eq!(replicas(&cluster), 2);
    cluster.slow = None;
    cluster.settle();
    cluster.slow = Some("demo-rabbitmq");
    cluster.converge().await;
    assert_eq!(replicas(&cluster), 3);
    cluster.slow = None;
    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
}

#[tokio::test]
async fn new_programs_wait_for_every_node_of_rabbitmq() {
    let mut cluster = Cluster::given(Scenario::Specified(json!({"rabbitmq": {"managed": {"replicas": 3}}}))).await;
    cluster.slow = Some("demo-rabbitmq");

    cluster.converge().await;
    assert!(cluster.api.get("deployments", "demo-booking").is_none());
    assert!(cluster.api.get("deployments", "demo-frontend").is_some());
    cluster.slow = None;
    cluster.converge().await;

    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
}

#[tokio::test]
async fn an_absent_reference_is_a_condition_and_stops_nothing() {
    let mut cluster = Cluster::given(Scenario::Ready).await;

    cluster.specify(|spec| *spec = json!({"admin": {"credentialsSecretRef": {"name": "root"}}}));
    cluster.converge().await;

    assert_eq!(cluster.condition("Degraded").1, "ReferenceMissing");
    assert!(
        cluster
            .condition("Ready")
            .2
            .contains("Secret root, which spec.admin.credentialsSecretRef names, does not exist")
    );
    assert_eq!(cluster.condition("Available").0, "True");
    let data = json!({"email": "YUBi", "password": "bG9uZ2VyIHRoYW4gdGhhdA=="});
    cluster
        .api
        .put("secrets", json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "root"}, "data": data}));
    cluster.converge().await;
    assert!(cluster.is_ready());
}

#[tokio::test]
async fn refused_credentials_are_a_condition() {
    let mut cluster = Cluster::given(Scenario::Ready).await;
    cluster.fail("rabbitmq", Some(ServerFailure::AuthFailed("RabbitMQ refuses the credentials".into())));

    cluster.converge().await;

    assert_eq!(cluster.condition("DependenciesReady").1, "AuthFailed");
    assert_eq!(cluster.condition("Degraded").1, "AuthFailed");
    assert_eq!(cluster.condition("Available").0, "True");
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let mut cluster = Cluster::given(Scenario::Fresh).await;
    cluster.api.forbid(Some("patch ingresses"));

    cluster.converge().await;

    let (_, reason, message) = cluster.condition("Degraded");
    assert_eq!(reason, "Forbidden");
    assert!(message.contains("cannot patch resource \"ingresses\""), "{message}");
    cluster.api.forbid(None);
    cluster.converge().await;
    assert!(cluster.is_ready());
}

#[tokio::test]
async fn a_quota_or_webhook_that_refuses_is_named_and_no_missing_right() {
    for message in [
        "services \"demo-user\" is forbidden: exceeded quota: compute, requested: services=1, used: services=9, limited: 9",
        "admission webhook \"policy.example.org\" denied the request: this name cannot be used",
    ] {
        let mut cluster = Cluster::given(Scenario::Fresh).await;
        cluster.api.deny(Some(("patch services", 403, message)));

        cluster.converge().await;

        let (_, reason, said) = cluster.condition("Degraded");
        assert_eq!(reason, "Refused");
        assert!(said.contains(message) && said.contains("rejects Service demo-"), "{said}");
        cluster.api.deny(None);
        cluster.converge().await;
        assert!(cluster.is_ready());
    }
}

#[tokio::test]
async fn an_error_of_the_api_server_that_stays_is_named_with_its_object() {
    let cluster = Cluster::given(Scenario::Ready).await;
    cluster.specify(|spec| *spec = json!({"exposure": {"className": "nginx"}}));
    let message = "Internal error occurred: failed calling webhook \"ingress.example.org\"";
    cluster.api.deny(Some(("patch ingresses", 500, message)));

    for _ in 0..5 {
        assert!(cluster.reconcile().await.is_err());
        assert_eq!(cluster.condition("Degraded").0, "False");
    }
    assert!(cluster.reconcile().await.is_err());

    let (_, reason, said) = cluster.condition("Degraded");
    assert_eq!(reason, "ApiUnavailable");
    assert!(said.contains("Ingress demo") && said.contains("ingress.example.org"), "{said}");
    cluster.api.deny(None);
    cluster.reconcile().await.unwrap();
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
}

#[tokio::test]
async fn an_error_whose_addresses_and_times_change_is_written_once() {
    let mut cluster = Cluster::given(Scenario::Fresh).await;
    let failure = |attempt: u8| {
        ServerFailure::Refused(format!("PostgreSQL at 10.0.0.{attempt}:5432 broke off: no answer within {attempt}.5s"))
    };
    cluster.fail("postgres", Some(failure(1)));
    cluster.converge().await;
    cluster.api.take_writes();

    for attempt in 2..5 {
        cluster.fail("postgres", Some(failure(attempt)));
        cluster.reconcile().await.unwrap();
    }

    assert_eq!(cluster.api.take_writes(), Vec::<String>::new());
    for type_ in ["DependenciesReady", "SchemaCurrent", "Degraded"] {
        assert!(cluster.condition(type_).2.contains(&failure(1).to_string()), "{:?}", cluster.condition(type_));
    }
    let another = ServerFailure::Refused("PostgreSQL at 10.0.0.1:5432: its disk is full".to_owned());
    cluster.fail("postgres", Some(another.clone()));
    cluster.reconcile().await.unwrap();
    assert!(cluster.condition("Degraded").2.contains(&another.to_string()));
}

#[tokio::test]
async fn a_refusal_whose_times_change_is_written_once() {
    let cluster = Cluster::given(Scenario::Ready).await;
    let refuse = |attempt: u8| {
        let message = format!("admission webhook \"limits\" denied the request: overloaded at 17:00:0{attempt}");
        cluster.api.deny(Some(("patch ingresses", 403, message.as_str())));
    };
    cluster.specify(|spec| *spec = json!({"exposure": {"className": "nginx"}}));
    refuse(1);
    cluster.reconcile().await.unwrap_err();
    assert!(cluster.condition("Degraded").2.contains("overloaded at 17:00:01"));
    cluster.api.take_writes();

    for attempt in 2..5 {
        refuse(attempt);
        cluster.reconcile().await.unwrap_err();
    }

    assert_eq!(cluster.api.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn failures_of_a_platform_that_is_gone_do_not_count_for_its_successor() {
    let cluster = Cluster::given(Scenario::Ready).await;
    let platform = cluster.api.get("eventplatforms", "demo").unwrap();
    cluster.api.deny(Some(("get deployments", 500, "etcdserver: request timed out")));
    for _ in 0..6 {
        cluster.reconcile().await.unwrap_err();
    }
    assert_eq!(cluster.condition("Degraded").1, "ApiUnavailable");
    cluster.delete_platform();
    cluster.forget_platform();

    let new = json!({"apiVersion": platform["apiVersion"], "kind": platform["kind"], "metadata": {"name": "demo"}, "spec": {}});
    cluster.api.put("eventplatforms", new);
    cluster.reconcile().await.unwrap_err();

    assert_eq!(cluster.condition("Degraded").1, "");
}

#[tokio::test]
async fn a_kind_that_the_cluster_does_not_know_is_named() {
    let mut cluster = Cluster::given(Scenario::Ready).await;

    cluster.specify(|spec| *spec = json!({"monitoring": {"serviceMonitor": "Enabled"}}));
    cluster.converge().await;

    let (_, reason, message) = cluster.condition("Degraded");
    assert_eq!(reason, "KindUnknown");
    assert!(message.contains("does not know ServiceMonitor of monitoring.coreos.com/v1"), "{message}");
    assert_eq!(cluster.condition("Available").0, "True");
    cluster.specify(|spec| *spec = json!({}));
    cluster.converge().await;
    assert!(cluster.is_ready());
}

#[tokio::test]
async fn an_invalid_spec_waits_for_a_change() {
    let mut cluster = Cluster::given(Scenario::Ready).await;

    cluster.specify(|spec| *spec = json!({"services": {"user": {"env": [{"name": "LISTEN_ADDR", "value": "x"}]}}}));
    cluster.converge().await;

    assert_eq!(cluster.condition("Degraded").1, "InvalidSpec");
    assert_eq!(cluster.reconcile().await.unwrap(), pause(20));
}

#[tokio::test]
async fn a_stuck_pod_of_a_server_is_recreated() {
    let cluster = Cluster::given(Scenario::Ready).await;
    cluster.api.edit("statefulsets", "demo-postgres", |set| set["status"]["updateRevision"] = json!("good"));
    let set = cluster.api.get("statefulsets", "demo-postgres").unwrap();
    let pod = |revision: &str, name: &str, state: serde_json::Value| {
        let labels = json!({
            "app.kubernetes.io/instance": "demo", "app.kubernetes.io/managed-by": "eventplatform-operator",
            "app.kubernetes.io/component": "postgres", "controller-revision-hash": revision,
        });
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": labels, "ownerReferences": [{"uid": set["metadata"]["uid"]}]},
            "status": {"containerStatuses": [{"state": state}]}})
    };
    cluster.api.put(
        "pods",
        pod("bad", "stuck", json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})),
    );
    cluster.api.put("pods", pod("bad", "serving", json!({"running": {}})));

    cluster.reconcile().await.unwrap();

    assert!(cluster.api.take_writes().contains(&"delete pods/stuck".to_owned()));
    assert!(cluster.api.get("pods", "serving").is_some());
}

#[tokio::test]
async fn a_crash_after_any_single_write_ends_in_the_same_platform() {
    // Without the policies, which are written like everything else, there are fewer places to crash at.
    let spec = json!({"networkPolicy": {"mode": "Disabled"}});
    let mut whole = Cluster::given(Scenario::Specified(spec.clone())).await;
    whole.converge().await;
    let expected = whole.api.names();
    let writes = whole.api.take_writes().len();
    assert!(writes > 40);

    for crash in 1..=writes {
        let mut cluster = Cluster::given(Scenario::Specified(spec.clone())).await;
        cluster.api.crash_after(Some(crash));
        cluster.converge().await;
        let made = cluster.api.list("secrets");

        cluster.api.crash_after(None);
        cluster.restart_operator();
        cluster.converge().await;

        assert!(cluster.is_ready(), "after {crash} writes: {:?}", cluster.condition("Ready"));
        assert_eq!(without_hashes(&cluster.api.names()), without_hashes(&expected), "after {crash} writes");
        for secret in
            made.iter().filter(|secret| secret["metadata"]["labels"]["app.kubernetes.io/component"] == "credentials")
        {
            let now = cluster.api.get("secrets", secret["metadata"]["name"].as_str().unwrap()).unwrap();
            assert_eq!(now["data"], secret["data"], "credentials changed after {crash} writes");
        }
    }
}

/// Names of Jobs end in a hash that depends on passwords.
fn without_hashes(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.split_once("-migrate-").map_or(name.clone(), |(start, _)| start.to_owned())).collect()
}
