//! The operator as a process: watches, leader election, health and metrics.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, http::header, routing::get};
use futures::StreamExt;
use kube::{
    Api, Client, Resource as _,
    core::DynamicObject,
    runtime::{
        Controller,
        events::{Recorder, Reporter},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use kube_lease_manager::LeaseManagerBuilder;
use platform::{Clock, telemetry};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    controller::{GuardedPlatform, Operator, error_policy, reconcile},
    crd::ConditionStatus,
    dereference::references,
    resource::{FIELD_MANAGER, Kind, MANAGED_BY},
    servers::NetworkServers,
    settings::Settings,
};

/// How long the lease is valid after a renewal.
const LEASE_SECONDS: u64 = 30;
/// How long before its expiry the lease is renewed.
const LEASE_GRACE_SECONDS: u64 = 15;
/// The gauge of platforms that are Degraded. Only the leader has it.
pub const DEGRADED_PLATFORMS: &str = "eventplatform_operator_degraded_platforms";
/// The gauge of platforms that cannot be decoded. Only the leader has it.
pub const UNDECODABLE_PLATFORMS: &str = "eventplatform_operator_undecodable_platforms";
/// How often the gauges are set.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until SIGTERM, or until the lease is lost.
pub async fn run(settings: Settings, admin: std::net::SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(admin).await.with_context(|| format!("ADMIN_ADDR: cannot listen on {admin}"))?;
    tokio::spawn(async move { axum::serve(listener, admin_router()).await });
    let client = Client::try_default().await.context("cannot reach the API server")?;
    let lease = LeaseManagerBuilder::new(client.clone(), &settings.lease_name)
        .with_namespace(&settings.pod_namespace)
        .with_identity(&settings.pod_name)
        .with_field_manager(format!("{FIELD_MANAGER}-{}", settings.pod_name))
        .with_duration(LEASE_SECONDS)
        .with_grace(LEASE_GRACE_SECONDS)
        .build()
        .await
        .context("the Lease cannot be used")?;
    let (mut leading, keeper) = lease.watch().await;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    tracing::info!("waiting for the lease");
    let control = async {
        leading.wait_for(|leading| *leading).await.context("the lease keeper ended")?;
        tracing::info!("leading");
        metrics::gauge!("eventplatform_operator_leading").set(1.0);
        let lost = leading.wait_for(|leading| !*leading);
        tokio::select! {
            () = control(client, settings) => anyhow::bail!("the controller ended"),
            // Another replica may lead already. This one must not write any more, so it exits.
            _ = lost => anyhow::bail!("the lease was lost"),
        }
    };
    let result = tokio::select! {
        result = control => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // Closing the channel releases the lease, so that the next replica need not wait for it to expire.
    drop(leading);
    tokio::time::timeout(Duration::from_secs(5), keeper).await.ok();
    result
}

/// Watches platforms and their objects, and reconciles. Never returns.
pub async fn control(client: Client, settings: Settings) {
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(settings.pod_name.clone()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let concurrency = settings.concurrency;
    let namespace = settings.watch_namespace.clone();
    let platforms: Api<GuardedPlatform> = match &namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut controller = Controller::new(platforms, watcher::Config::default())
        .with_config(kube::runtime::Config::default().debounce(Duration::from_millis(300)).concurrency(concurrency));
    let ours = watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_optional() && *kind != Kind::Secret) {
        let resource = kind.resource();
        controller = controller.owns_with(dynamic(&client, namespace.as_deref(), kind), resource, ours.clone());
    }
    // Generated credentials have no owner under Retain, and the Secrets that a spec refers to are somebody else's.
    let store = controller.store();
    let secrets = dynamic(&client, namespace.as_deref(), Kind::Secret);
    let platforms = store.clone();
    let mapper = move |secret: DynamicObject| platforms_of_secret(&secret, &store);
    controller = controller.watches_with(secrets, Kind::Secret.resource(), watcher::Config::default(), mapper);
    let operator = Operator::new(client, Arc::new(NetworkServers), settings, Clock::system(), Some(recorder));
    let reconciling = controller.run(reconcile, error_policy, Arc::new(operator)).for_each(|result| async {
        if let Err(error) = result {
            tracing::debug!(%error, "reconcile");
        }
    });
    tokio::select! { () = reconciling => {}, () = count_platforms(platforms) => {} }
}

/// Keeps the gauges of platforms. They are counted in the store, which forgets deleted ones.
async fn count_platforms(platforms: Store<GuardedPlatform>) {
    loop {
        let platforms = platforms.state();
        let count = |holds: fn(&GuardedPlatform) -> bool| {
            u32::try_from(platforms.iter().filter(|platform| holds(platform)).count()).unwrap_or(u32::MAX)
        };
        metrics::gauge!(DEGRADED_PLATFORMS).set(count(is_degraded));
        metrics::gauge!(UNDECODABLE_PLATFORMS).set(count(|platform| platform.0.is_err()));
        tokio::time::sleep(COUNT_INTERVAL).await;
    }
}

fn is_degraded(platform: &GuardedPlatform) -> bool {
    let status = platform.0.iter().filter_map(|platform| platform.status.as_ref());
    status
        .flat_map(|status| &status.conditions)
        .any(|condition| condition.type_ == "Degraded" && condition.status == ConditionStatus::True)
}

fn dynamic(client: &Client, namespace: Option<&str>, kind: Kind) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind.resource()),
        None => Api::all_with(client.clone(), &kind.resource()),
    }
}

/// The platform that a Secret was generated for, and those whose spec refers to it.
fn platforms_of_secret(secret: &DynamicObject, store: &Store<GuardedPlatform>) -> Vec<ObjectRef<GuardedPlatform>> {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let labels = secret.metadata.labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let generated_for = (label("app.kubernetes.io/managed-by") == Some(MANAGED_BY))
        .then(|| label("app.kubernetes.io/instance"))
        .flatten();
    store
        .state()
        .into_iter()
        .filter(|platform| platform.meta().namespace == secret.metadata.namespace)
        .filter(|platform| {
            platform.meta().name.as_deref() == generated_for
                || platform
                    .0
                    .iter()
                    .flat_map(|platform| references(&platform.spec))
                    .any(|reference| reference.name == name)
        })
        .map(|platform| ObjectRef::from_obj(platform.as_ref()))
        .collect()
}

/// Health and metrics. A replica that waits for the lease is ready too.
fn admin_router() -> Router {
    let metrics = || async {
        let handle = telemetry::metrics_handle();
        handle.run_upkeep();
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render())
    };
    Router::new()
        .route("/livez", get(|| async { "alive" }))
        .route("/readyz", get(|| async { "ready" }))
        .route("/metrics", get(metrics))
}
