//! The fields of built objects that users, pods and other objects depend on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Plan;
use crate::{
    blueprint::Blueprint,
    crd::EventPlatformSpec,
    credentials::{Credential, Record, SecretData},
    dereference::ClusterState,
    names::Names,
    program::Program,
    resource::{CONFIG_HASH_ANNOTATION, HASH_ANNOTATION, Identity, Kind, Resource},
    settings::Settings,
    versions::{self, ServerImage},
};

/// A platform with all of its credentials and references.
struct Given {
    identity: Identity,
    spec: EventPlatformSpec,
    settings: Settings,
    credentials: BTreeMap<Credential, SecretData>,
    references: BTreeMap<String, SecretData>,
    images: BTreeMap<&'static str, ServerImage>,
    programs_running: bool,
}

impl Given {
    fn new(spec: Value) -> Self {
        let identity = Identity { name: "demo".into(), namespace: "shop".into(), uid: "u-1".into() };
        let credentials = Credential::ALL.map(|credential| {
            (credential, credential.update(&identity, None, false, &Record::default(), &mut rand::rng()).data)
        });
        let references = ["db", "mongo", "mq", "stripe", "root", "ca"].map(|name| {
            let keys = ["username", "password", "api-key", "webhook-secret", "email", "ca.crt"];
            (name.to_owned(), keys.map(|key| (key.to_owned(), format!("{name} {key}").into_bytes())).into())
        });
        let spec: EventPlatformSpec = serde_json::from_value(spec).unwrap();
        let settings = Settings::default();
        let images = versions::images(&identity, &spec, &settings, &ClusterState::default());
        Self {
            identity,
            spec,
            settings,
            images,
            credentials: credentials.into(),
            references: references.into(),
            programs_running: true,
        }
    }

    fn blueprint(&self) -> Blueprint<'_> {
        Blueprint {
            identity: &self.identity,
            spec: &self.spec,
            settings: &self.settings,
            credentials: &self.credentials,
            references: &self.references,
            images: &self.images,
            programs_running: self.programs_running,
            knows_service_monitor: true,
        }
    }

    fn plan(&self) -> Plan {
        self.blueprint().plan()
    }
}

fn find<'a>(plan: &'a Plan, kind: Kind, name: &str) -> &'a Value {
    let found = plan.resources().find(|resource| resource.kind == kind && resource.name == name);
    &found.unwrap_or_else(|| panic!("no {} {name}", kind.name())).object
}

fn has(plan: &Plan, kind: Kind, name: &str) -> bool {
    plan.resources().any(|resource| resource.kind == kind && resource.name == name)
}

fn everything() -> Value {
    json!({
        "image": {"registry": "registry.example.org/x", "tag": "9", "pullSecrets": [{"name": "pull"}]},
        "deletion": {"policy": "Delete"},
        "services": {
            "user": {"replicas": 3, "env": [{"name": "ORGANIZER_APPROVAL", "value": "true"}]},
            "booking": {"autoscaling": {"minReplicas": 2, "maxReplicas": 5}},
            "frontend": {"resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "1Gi"}}},
        },
        "postgres": {"external": {"host": "pg.example.org", "credentialsSecretRef": {"name": "db"}, "tls": {"caSecretRef": {"name": "ca"}}}},
        "mongodb": {"managed": {"members": 3, "storage": {"size": "5Gi", "className": "fast"}}},
        "rabbitmq": {"managed": {"replicas": 3}},
        "exposure": {"host": "book.example.org", "className": "nginx", "annotations": {"a/b": "c"}, "tls": {"secretName": "cert"}},
        "payments": {"provider": "Stripe", "credentialsSecretRef": {"name": "stripe"}},
        "admin": {"credentialsSecretRef": {"name": "root"}},
        "networkPolicy": {"ingressFrom": [{"namespaceLabels": {"a": "b"}, "podLabels": {"c": "d"}}], "metricsFrom": [{"cidr": "10.0.0.0/8"}]},
        "monitoring": {"labels": {"release": "prometheus"}},
    })
}

#[test]
fn every_object_is_named_labelled_owned_and_hashed() {
    let mut given = Given::new(everything());
    given.identity.name = "a".repeat(crate::crd::MAX_NAME_LENGTH);
    let plan = given.plan();
    let mut names = BTreeSet::new();

    for resource in plan.resources() {
        let metadata = &resource.object["metadata"];
        assert!(resource.name.len() <= 63, "{} is too long", resource.name);
        assert!(names.insert((resource.kind, resource.name.clone())), "{} is there twice", resource.name);
        assert_eq!(metadata["name"], resource.name);
        assert_eq!(metadata["namespace"], "shop");
        assert_eq!(metadata["ownerReferences"][0]["uid"], "u-1");
        assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], given.identity.name);
        assert_eq!(metadata["annotations"][HASH_ANNOTATION].as_str().unwrap().len(), 16);
        for value in metadata["labels"].as_object().unwrap().values() {
            assert!(value.as_str().unwrap().len() <= 63);
        }
    }
}

#[test]
fn the_same_input_gives_the_same_objects() {
    let given = Given::new(everything());

    assert!(given.plan().resources().eq(given.plan().resources()));
}

fn pod_specs(plan: &Plan) -> Vec<(String, Value)> {
    let runs = |resource: &&Resource| matches!(resource.kind, Kind::Deployment | Kind::StatefulSet | Kind::Job);
    plan.resources()
        .filter(runs)
        .map(|resource| (resource.name.clone(), resource.object["spec"]["template"]["spec"].clone()))
        .collect()
}

#[test]
fn every_pod_meets_the_restricted_standard() {
    for spec in [json!({}), everything()] {
        for (name, pod) in pod_specs(&Given::new(spec).plan()) {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            let containers =
                ["initContainers", "containers"].map(|field| pod[field].as_array().cloned().unwrap_or_default());
            for container in containers.concat() {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{name}");
                assert!(container["resources"]["requests"].get("cpu").is_some(), "{name}");
                let mounted: BTreeSet<_> =
                    container["volumeMounts"].as_array().unwrap().iter().map(|m| m["mountPath"].to_string()).collect();
                assert_eq!(
                    mounted.len(),
                    container["volumeMounts"].as_array().unwrap().len(),
                    "{name} mounts a path twice"
                );
            }
            let volumes: BTreeSet<String> =
                pod["volumes"].as_array().unwrap().iter().map(|v| v["name"].to_string()).collect();
            for container in containers_of(&pod) {
                for mount in container["volumeMounts"].as_array().unwrap() {
                    assert!(volumes.contains(&mount["name"].to_string()) || mount["name"] == "data", "{name}: {mount}");
                }
            }
        }
    }
}

fn containers_of(pod: &Value) -> Vec<Value> {
    ["initContainers", "containers"]
        .iter()
        .flat_map(|field| pod[*field].as_array().cloned().unwrap_or_default())
        .collect()
}

/// Secrets are files, or references for the probes of the servers; never text in a pod.
#[test]
fn no_secret_is_text_in_a_pod_or_a_config_map() {
    let given = Given::new(json!({}));
    let plan = given.plan();
    let secrets: Vec<String> = given
        .credentials
        .values()
        .flat_map(|data| data.values())
        .map(|value| String::from_utf8(value.clone()).unwrap())
        .collect();

    for resource in plan.resources().filter(|resource| resource.kind != Kind::Secret) {
        let text = resource.object.to_string();
        for secret in &secrets {
            assert!(!text.contains(secret.trim()), "{} {} shows a secret", resource.kind.name(), resource.name);
        }
    }
}

fn env(object: &Value) -> BTreeMap<String, String> {
    let env = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    env.iter()
        .map(|e| (e["name"].as_str().unwrap().to_owned(), e["value"].as_str().unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn an_empty_spec_is_a_whole_platform() {
    let plan = Given::new(json!({})).plan();

    for program in Program::ALL {
        assert!(has(&plan, Kind::Deployment, &format!("demo-{}", program.name())));
        assert!(has(&plan, Kind::Service, &format!("demo-{}", program.name())));
        assert_eq!(plan.migration(program).is_some(), program != Program::Frontend);
    }
    for server in ["postgres", "mongodb", "rabbitmq"] {
        assert!(has(&plan, Kind::StatefulSet, &format!("demo-{server}")));
    }
    assert!(has(&plan, Kind::Ingress, "demo"));
    assert!(!plan.resources().any(|resource| resource.kind == Kind::PodDisruptionBudget));
    let booking = env(find(&plan, Kind::Deployment, "demo-booking"));
    assert_eq!(booking["PAYMENT_API_URL"], "http://demo-mock-gateway:8080");
    assert_eq!(booking["EVENT_SERVICE_URL"], "http://demo-event:8080");
    assert_eq!(booking["PUBLIC_URL"], "http://localhost:8080");
    let gateway = env(find(&plan, Kind::Deployment, "demo-mock-gateway"));
    assert_eq!(gateway["WEBHOOK_URL"], "http://demo-booking:8080/payments/webhooks/mock");
    let event = env(find(&plan, Kind::Deployment, "demo-event"));
    assert_eq!(event["JWKS_URL"], "http://demo-user:8080/.well-known/jwks.json");
    assert_eq!(event["MONGODB_DATABASE"], "events");
    for program in [Program::User, Program::Event, Program::Booking, Program::Notification] {
        let env = env(find(&plan, Kind::Deployment, &format!("demo-{}", program.name())));
        assert_eq!(env["AMQP_URL_FILE"], "/etc/eventplatform/secrets/amqp-url", "{program:?}");
    }
}

#[test]
fn pods_have_time_for_the_shutdown_delay_and_to_drain() {
    let plan = Given::new(json!({})).plan();
    let deployment = find(&plan, Kind::Deployment, "demo-booking");
    let env = env(deployment);
    let seconds = |name: &str| env[name].parse::<i64>().unwrap();

    let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap();
    assert!(grace > seconds("SHUTDOWN_DELAY_SECONDS") + seconds("DRAIN_SECONDS"));
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
}

fn derived(plan: &Plan, name: &str, key: &str) -> String {
    let data = crate::credentials::secret_data(find(plan, Kind::Secret, name));
    String::from_utf8(data[key].clone()).unwrap()
}

#[test]
fn each_program_has_its_own_user_and_database() {
    let given = Given::new(json!({}));
    let plan = given.plan();
    let password = |credential, key: &str| String::from_utf8(given.credentials[&credential][key].clone()).unwrap();

    let user = derived(&plan, "demo-user-config", "database-url");
    let expected = password(Credential::Postgres, "user-password");
    assert_eq!(user, format!("postgres://user_service:{expected}@demo-postgres.shop.svc:5432/users?sslmode=disable"));
    let event = derived(&plan, "demo-event-config", "mongodb-url");
    let expected = password(Credential::Mongodb, "event-password");
    assert_eq!(
        event,
        format!(
            "mongodb://event_service:{expected}@demo-mongodb-0.demo-mongodb-nodes.shop.svc:27017/events?authSource=events&directConnection=true"
        )
    );
    for program in ["user", "booking"] {
        let amqp = derived(&plan, &format!("demo-{program}-config"), "amqp-url");
        let expected = password(Credential::Rabbitmq, &format!("{program}-password"));
        assert_eq!(amqp, format!("amqp://{program}-service:{expected}@demo-rabbitmq.shop.svc:5672/%2f"));
    }
}

#[test]
fn external_servers_are_used_and_none_is_created() {
    let plan = Given::new(json!({
        "postgres": {"external": {"host": "pg", "port": 6000, "credentialsSecretRef": {"name": "db"}, "tls": {"caSecretRef": {"name": "ca"}}}},
        "mongodb": {"external": {"hosts": ["m1:1", "m2:2"], "replicaSet": "rs", "credentialsSecretRef": {"name": "mongo"}}},
        "rabbitmq": {"external": {"host": "mq", "vhost": "a/b", "credentialsSecretRef": {"name": "mq"}, "tls": {"mode": "Disable"}}},
    }))
    .plan();

    assert!(!plan.resources().any(|resource| resource.kind == Kind::StatefulSet));
    let prefix = Names::new(&Given::new(json!({})).identity).prefix;
    let user = derived(&plan, "demo-user-config", "database-url");
    assert!(user.starts_with(&format!("postgres://{prefix}user_service:")), "{user}");
    let query = "sslmode=verify-full&sslrootcert=/etc/eventplatform/authorities/postgres/ca.crt";
    assert!(user.ends_with(&format!("@pg:6000/{prefix}users?{query}")), "{user}");
    let event = derived(&plan, "demo-event-config", "mongodb-url");
    let query = format!("authSource={prefix}events&replicaSet=rs&tls=true");
    assert!(event.ends_with(&format!("@m1:1,m2:2/{prefix}events?{query}")), "{event}");
    for config in ["demo-user-config", "demo-booking-config"] {
        assert_eq!(derived(&plan, config, "amqp-url"), "amqp://mq%20username:mq%20password@mq:5672/a%2Fb");
    }
}

#[test]
fn another_pull_policy_restarts_no_server() {
    let given = Given::new(json!({}));
    let always =
        Given { credentials: given.credentials.clone(), ..Given::new(json!({"image": {"pullPolicy": "Always"}})) };
    let (before, after) = (given.plan(), always.plan());
    let policy = |plan: &Plan| {
        let deployment = find(plan, Kind::Deployment, "demo-user");
        deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"].clone()
    };

    assert_eq!((policy(&before), policy(&after)), (json!("IfNotPresent"), json!("Always")));
    for server in ["demo-postgres", "demo-mongodb", "demo-rabbitmq"] {
        assert_eq!(find(&before, Kind::StatefulSet, server), find(&after, Kind::StatefulSet, server));
    }
}

#[test]
fn labels_in_the_spec_replace_none_of_the_operators() {
    let labels = json!({"release": "prometheus", "app.kubernetes.io/managed-by": "somebody"});
    let plan = Given::new(json!({"monitoring": {"labels": labels}})).plan();

    let labels = &find(&plan, Kind::ServiceMonitor, "demo")["metadata"]["labels"];
    assert_eq!(labels["release"], "prometheus");
    assert_eq!(labels["app.kubernetes.io/managed-by"], "eventplatform-operator");
}

#[test]
fn pods_that_are_not_ready_keep_no_node_from_being_drained() {
    let plan = Given::new(json!({"services": {"user": {"replicas": 2}}})).plan();

    let budget = find(&plan, Kind::PodDisruptionBudget, "demo-user");
    assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
}

#[test]
fn queues_of_several_nodes_get_a_member_on_each() {
    let one = Given::new(json!({})).plan();
    let three = Given::new(json!({"rabbitmq": {"managed": {"replicas": 3}}})).plan();
    let config = |plan: &Plan| find(plan, Kind::ConfigMap, "demo-rabbitmq-config")["data"]["advanced.config"].clone();
    let env = |plan: &Plan| {
        let set = find(plan, Kind::StatefulSet, "demo-rabbitmq");
        set["spec"]["template"]["spec"]["containers"][0]["env"].to_string()
    };

    assert_eq!(
        config(&three),
        "[{rabbit, [\n  {quorum_membership_reconciliation_enabled, true},\n  \
         {quorum_membership_reconciliation_auto_remove, false},\n  \
         {quorum_membership_reconciliation_target_group_size, 3}\n]}].\n"
    );
    assert!(env(&three).contains("/etc/eventplatform/rabbitmq/advanced.config"));
    assert!(config(&one).is_null() && !env(&one).contains("advanced.config"));
}

#[test]
fn a_changed_secret_rolls_only_its_readers() {
    let given = Given::new(everything());
    let before = given.plan();
    let mut changed = Given {
        references: given.references.clone(),
        credentials: given.credentials.clone(),
        ..Given::new(everything())
    };
    changed.references.get_mut("stripe").unwrap().insert("api-key".into(), b"new".to_vec());
    let after = changed.plan();

    let hash = |plan: &Plan, program: Program| {
        let deployment = find(plan, Kind::Deployment, &format!("demo-{}", program.name()));
        deployment["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH_ANNOTATION].clone()
    };
    for program in given.blueprint().programs() {
        assert_eq!(hash(&before, program) != hash(&after, program), program == Program::Booking, "{program:?}");
    }
}

#[test]
fn another_image_is_another_migration() {
    let given = Given::new(json!({}));
    let mut newer = Given { credentials: given.credentials.clone(), ..Given::new(json!({"image": {"tag": "2"}})) };
    newer.references.clone_from(&given.references);

    let (before, after) = (given.plan(), newer.plan());

    assert_ne!(before.migration(Program::User).unwrap().name, after.migration(Program::User).unwrap().name);
}

#[test]
fn stopped_programs_go_before_the_servers() {
    let mut given =
        Given::new(json!({"management": "Stopped", "services": {"booking": {"autoscaling": {"maxReplicas": 4}}}}));
    let replicas = |plan: &Plan, kind, name: &str| find(plan, kind, name)["spec"]["replicas"].clone();

    let leaving = given.plan();
    given.programs_running = false;
    let stopped = given.plan();

    assert_eq!(replicas(&leaving, Kind::Deployment, "demo-booking"), 0);
    assert_eq!(replicas(&leaving, Kind::StatefulSet, "demo-postgres"), 1);
    assert_eq!(replicas(&stopped, Kind::StatefulSet, "demo-postgres"), 0);
    assert!(!has(&stopped, Kind::HorizontalPodAutoscaler, "demo-booking"));
}

#[test]
fn under_autoscaling_the_operator_does_not_set_replicas() {
    let plan = Given::new(everything()).plan();

    assert!(find(&plan, Kind::Deployment, "demo-booking")["spec"].get("replicas").is_none());
    let autoscaler = find(&plan, Kind::HorizontalPodAutoscaler, "demo-booking");
    assert_eq!(autoscaler["spec"]["scaleTargetRef"]["name"], "demo-booking");
    assert!(has(&plan, Kind::PodDisruptionBudget, "demo-booking"));
}

#[test]
fn budgets_are_for_two_pods_or_more() {
    let plan = Given::new(everything()).plan();
    let budgets: BTreeSet<&str> = plan
        .resources()
        .filter(|resource| resource.kind == Kind::PodDisruptionBudget)
        .map(|resource| resource.name.as_str())
        .collect();

    assert_eq!(budgets, BTreeSet::from(["demo-booking", "demo-mongodb", "demo-rabbitmq", "demo-user"]));
}

#[test]
fn the_deletion_policy_decides_over_volumes() {
    for (policy, expected) in [("Retain", "Retain"), ("Delete", "Delete")] {
        let plan = Given::new(json!({"deletion": {"policy": policy}})).plan();
        let set = find(&plan, Kind::StatefulSet, "demo-postgres");

        assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], expected);
        assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"], "Retain");
    }
}

#[test]
fn stripe_replaces_the_mock() {
    let plan = Given::new(everything()).plan();

    assert!(!has(&plan, Kind::Deployment, "demo-mock-gateway"));
    let booking = env(find(&plan, Kind::Deployment, "demo-booking"));
    assert_eq!(booking["PAYMENT_PROVIDER"], "stripe");
    assert_eq!(env(find(&plan, Kind::Deployment, "demo-event"))["PAYMENT_PROVIDER"], "stripe");
    assert!(!booking.contains_key("PAYMENT_API_URL"));
    assert_eq!(derived(&plan, "demo-booking-config", "payment-api-key"), "stripe api-key");
}

#[test]
fn the_ingress_routes_by_path_and_never_to_an_admin_port() {
    let plan = Given::new(everything()).plan();
    let ingress = find(&plan, Kind::Ingress, "demo");
    let paths = ingress["spec"]["rules"][0]["http"]["paths"].as_array().unwrap();

    let routes: Vec<String> = paths
        .iter()
        .map(|path| {
            format!(
                "{} {} {}",
                path["path"].as_str().unwrap(),
                path["backend"]["service"]["name"].as_str().unwrap(),
                path["backend"]["service"]["port"]["name"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        routes,
        [
            "/users demo-user http",
            "/api/events demo-event http",
            "/bookings demo-booking http",
            "/payments demo-booking http",
            "/tickets demo-booking http",
            "/notifications demo-notification http",
            "/ demo-frontend http",
        ]
    );
    assert_eq!(ingress["spec"]["ingressClassName"], "nginx");
    assert_eq!(ingress["spec"]["tls"][0], json!({"hosts": ["book.example.org"], "secretName": "cert"}));
    assert_eq!(ingress["metadata"]["annotations"]["a/b"], "c");
    assert_eq!(Given::new(everything()).blueprint().public_url(), "https://book.example.org");
}

#[test]
fn a_route_attaches_to_its_gateway() {
    let plan =
        Given::new(json!({"exposure": {"type": "Gateway", "gatewayRef": {"name": "gw", "namespace": "infra"}}})).plan();
    let route = find(&plan, Kind::HttpRoute, "demo");

    assert_eq!(route["spec"]["parentRefs"][0]["namespace"], "infra");
    assert_eq!(route["spec"]["rules"].as_array().unwrap().len(), 7);
    assert!(!has(&plan, Kind::Ingress, "demo"));
}

/// `from → to:port` for every pair of components that the policies allow on both sides.
fn edges(plan: &Plan) -> BTreeSet<String> {
    let component = |labels: &Value| labels["app.kubernetes.io/component"].as_str().map(str::to_owned);
    let mut out = BTreeSet::new();
    let mut into = BTreeSet::new();
    for resource in plan.resources().filter(|resource| resource.kind == Kind::NetworkPolicy) {
        let spec = &resource.object["spec"];
        let Some(subject) = component(&spec["podSelector"]["matchLabels"]) else { continue };
        for (direction, peers, edges) in [("egress", "to", &mut out), ("ingress", "from", &mut into)] {
            for rule in spec[direction].as_array().into_iter().flatten() {
                for peer in rule[peers].as_array().unwrap() {
                    let Some(other) = component(&peer["podSelector"]["matchLabels"]) else { continue };
                    for port in rule["ports"].as_array().unwrap() {
                        let (from, to) = if direction == "egress" { (&subject, &other) } else { (&other, &subject) };
                        edges.insert(format!("{from} → {to}:{}", port["port"]));
                    }
                }
            }
        }
    }
    assert_eq!(out, into, "an edge is open on one side only");
    out
}

#[test]
fn the_network_policies_allow_exactly_the_edges_of_the_picture() {
    let expected = [
        "booking → event:8080",
        "booking → mock-gateway:8080",
        "booking → postgres:5432",
        "booking → rabbitmq:5672",
        "booking → user:8080",
        "booking-migrate → postgres:5432",
        "event → mongodb:27017",
        "event → rabbitmq:5672",
        "event → user:8080",
        "event-migrate → mongodb:27017",
        "frontend → event:8080",
        "mock-gateway → booking:8080",
        "mock-gateway → postgres:5432",
        "mock-gateway-migrate → postgres:5432",
        "mongodb → mongodb:27017",
        "notification → mongodb:27017",
        "notification → rabbitmq:5672",
        "notification → user:8080",
        "notification-migrate → mongodb:27017",
        "rabbitmq → rabbitmq:25672",
        "rabbitmq → rabbitmq:4369",
        "user → event:8080",
        "user → postgres:5432",
        "user → rabbitmq:5672",
        "user-migrate → postgres:5432",
    ];

    let edges = edges(&Given::new(json!({})).plan());

    assert_eq!(edges.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn all_other_traffic_is_denied_in_both_directions() {
    let plan = Given::new(json!({})).plan();
    let policies: Vec<&Resource> = plan.resources().filter(|resource| resource.kind == Kind::NetworkPolicy).collect();

    for policy in &policies {
        assert_eq!(policy.object["spec"]["policyTypes"], json!(["Ingress", "Egress"]), "{}", policy.name);
    }
    let deny = find(&plan, Kind::NetworkPolicy, "demo-deny-all");
    assert!(deny["spec"].get("ingress").is_none() && deny["spec"].get("egress").is_none());
    // The gateway and the servers take nothing from outside.
    let gateway = find(&plan, Kind::NetworkPolicy, "demo-mock-gateway")["spec"]["ingress"].to_string();
    assert!(!gateway.contains("NotIn"));
    let disabled = Given::new(json!({"networkPolicy": {"mode": "Disabled"}})).plan();
    assert!(!disabled.resources().any(|resource| resource.kind == Kind::NetworkPolicy));
}

#[test]
fn only_the_operator_reaches_the_servers_from_another_namespace() {
    let mut given = Given::new(json!({}));
    given.settings.pod_namespace = "eventplatform-system".into();
    let plan = given.plan();

    for server in ["postgres", "mongodb", "rabbitmq"] {
        let ingress = find(&plan, Kind::NetworkPolicy, &format!("demo-{server}"))["spec"]["ingress"].clone();
        let outside: Vec<Value> = ingress
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|rule| rule["from"].as_array().unwrap().clone())
            .filter(|peer| peer.get("namespaceSelector").is_some())
            .collect();
        assert_eq!(outside.len(), 1);
        assert_eq!(
            outside[0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
            "eventplatform-system"
        );
        assert_eq!(outside[0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], "eventplatform-operator");
    }
}

#[test]
fn three_members_find_each_other_by_name() {
    let plan = Given::new(everything()).plan();
    let conf = find(&plan, Kind::ConfigMap, "demo-rabbitmq-config")["data"]["rabbitmq.conf"].as_str().unwrap();

    assert!(conf.contains("nodes.3 = rabbit@demo-rabbitmq-2.demo-rabbitmq-nodes.shop.svc\n"), "{conf}");
    assert!(conf.contains("cluster_partition_handling = pause_minority"));
    let env = env(find(&plan, Kind::StatefulSet, "demo-rabbitmq"));
    assert_eq!(env["RABBITMQ_NODENAME"], "rabbit@$(POD_NAME).demo-rabbitmq-nodes.shop.svc");
    let url = derived(&plan, "demo-event-config", "mongodb-url");
    assert!(
        url.ends_with("demo-mongodb-2.demo-mongodb-nodes.shop.svc:27017/events?authSource=events&replicaSet=rs0"),
        "{url}"
    );
    assert_eq!(
        find(&plan, Kind::StatefulSet, "demo-mongodb")["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"],
        "fast"
    );
}

#[test]
fn rabbitmq_has_a_user_for_each_program_and_no_guest() {
    let definitions = super::secret::definitions(&Given::new(json!({})).blueprint());
    let users: Vec<&str> =
        definitions["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();

    assert_eq!(users, ["admin", "user-service", "event-service", "booking-service", "notification-service"]);
    assert_eq!(definitions["permissions"][0]["configure"], "^$");
    let permissions = definitions["permissions"].as_array().unwrap();
    assert_eq!(permissions.iter().map(|permission| &permission["user"]).collect::<Vec<_>>(), users);
    let queues = r"notification|notification\.user|booking|booking\.user|event\.user";
    let topology = format!(r"^(eventbooking|eventbooking\.dead|({queues})(\.dead|\.retry)?)$");
    assert!(permissions[1..].iter().all(|permission| permission["write"] == topology.as_str()));
}

#[test]
fn probes_of_the_servers_log_in() {
    let plan = Given::new(json!({})).plan();
    for (server, command, variable) in [
        ("postgres", "psql", "PGPASSWORD"),
        ("mongodb", "db.auth", "MONGODB_ADMIN_PASSWORD"),
        ("rabbitmq", "authenticate_user", "RABBITMQ_ADMIN_PASSWORD"),
    ] {
        let set = find(&plan, Kind::StatefulSet, &format!("demo-{server}"));
        let container = &set["spec"]["template"]["spec"]["containers"][0];

        assert!(container["readinessProbe"]["exec"]["command"][2].as_str().unwrap().contains(command));
        let env = container["env"].as_array().unwrap();
        let password = env.iter().find(|e| e["name"] == variable).unwrap();
        assert_eq!(password["valueFrom"]["secretKeyRef"]["key"], "admin-password");
    }
}

#[test]
fn the_log_of_postgres_holds_no_values() {
    let plan = Given::new(json!({})).plan();
    let container = &find(&plan, Kind::StatefulSet, "demo-postgres")["spec"]["template"]["spec"]["containers"][0];

    let arguments: Vec<_> = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for setting in ["log_error_verbosity=terse", "log_parameter_max_length_on_error=0"] {
        assert!(arguments.windows(2).any(|pair| pair == ["-c", setting]), "{arguments:?}");
    }
}

#[test]
fn two_platforms_in_a_namespace_share_no_name() {
    let names = |name: &str| {
        let mut given = Given::new(json!({}));
        given.identity.name = name.to_owned();
        let plan = given.plan();
        let credentials =
            Credential::ALL.map(|credential| (Kind::Secret, given.identity.resource_name(credential.suffix())));
        plan.resources()
            .map(|resource| (resource.kind, resource.name.clone()))
            .chain(credentials)
            .collect::<BTreeSet<_>>()
    };
    let demo = names("demo");

    for other in ["demo-2", "demo-user", "demo-booking", "demo-rabbitmq", "d"] {
        let shared: Vec<_> = names(other).intersection(&demo).cloned().collect();
        assert!(shared.is_empty(), "{other} and demo both have {shared:?}");
    }
}

mod validation {
    use super::{Given, json};
    use crate::{dereference::ClusterState, error::Error, validate};

    fn faults(spec: serde_json::Value) -> String {
        match validate::check_spec(&Given::new(spec).blueprint()) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_valid_spec_has_no_faults() {
        assert_eq!(faults(json!({})), "");
        assert_eq!(faults(super::everything()), "");
    }

    #[test]
    fn variables_of_the_operator_cannot_be_overridden() {
        let faults = faults(json!({"services": {"user": {"env": [{"name": "DATABASE_URL_FILE", "value": "/x"}]}}}));

        assert!(faults.contains("services.user.env: DATABASE_URL_FILE is set by the operator"), "{faults}");
    }

    #[test]
    fn a_duplicate_variable_is_reported_once() {
        let env = ["A", "B", "A", "B"].map(|name| json!({"name": name, "value": "x"}));
        let faults = faults(json!({"services": {"user": {"env": env}}}));

        for name in ["A", "B"] {
            let reports = faults.matches(&format!("services.user.env: {name} is given twice")).count();
            assert_eq!(reports, 1, "{faults}");
        }
    }

    #[test]
    fn quantities_must_be_valid_and_within_limits() {
        let resources = json!({"requests": {"cpu": "lots", "memory": "2Gi"}, "limits": {"memory": "1Gi"}});
        let faults = faults(json!({"services": {"event": {"resources": resources}}}));

        assert!(faults.contains("services.event.resources.requests.cpu: lots is not a quantity"), "{faults}");
        assert!(faults.contains("the request of memory exceeds its limit"), "{faults}");
    }

    #[test]
    fn several_hosts_need_the_name_of_their_replica_set() {
        let faults = faults(
            json!({"mongodb": {"external": {"hosts": ["a:1", "b"], "credentialsSecretRef": {"name": "mongo"}}}}),
        );

        assert!(faults.contains("replicaSet is needed"), "{faults}");
        assert!(faults.contains("b is not host:port"), "{faults}");
    }

    #[test]
    fn a_missing_reference_is_named_with_its_remedy() {
        let given = Given::new(super::everything());
        let mut cluster = ClusterState::default();
        cluster.references.insert("stripe".into(), Some([("api-key".to_owned(), b"x".to_vec())].into()));

        let Err(Error::ReferenceMissing(faults)) = validate::resolve_references(&given.blueprint(), &cluster) else {
            panic!("all is there");
        };

        assert!(faults.contains(
            &"Secret db, which spec.postgres.external.credentialsSecretRef names, does not exist; create it".to_owned()
        ));
        assert!(faults.contains(
            &"Secret stripe, which spec.payments.credentialsSecretRef names, has no webhook-secret; add it".to_owned()
        ));
    }
}
