//! What the operator does in each scenario.

use chrono::TimeDelta;
use eventplatform_operator::servers::ServerFailure;
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
    let kept = cluster.api.get("secrets", "demo-ticket-keys").unwrap();
    cluster.api.remove("secrets", "demo-ticket-keys");

    cluster.converge().await;
    let lost = cluster.condition("Degraded");
    cluster.api.edit("deployments", "demo-booking", |deployment| {
        let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array_mut().unwrap();
        volumes.retain(|volume| volume["name"] != "ticket-keys");
    });
    cluster.converge().await;

    assert_eq!(lost.1, "CredentialLost");
    assert!(lost.2.contains("demo-ticket-keys"), "{}", lost.2);
    assert!(cluster.is_ready(), "{:?}", cluster.condition("Ready"));
    assert_ne!(cluster.api.get("secrets", "demo-ticket-keys").unwrap()["data"], kept["data"]);
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
    assert_eq!(cluster.api.list("jobs").len(), 5);
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
