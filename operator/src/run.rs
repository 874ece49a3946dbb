//! The operator as a process: watches, leader election, health and metrics.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, http::header, routing::get};
use futures::StreamExt;
use kube::{
    Api, Client,
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
    child::{FIELD_MANAGER, Kind, MANAGED_BY},
    controller::{Operator, error_policy, reconcile},
    crd::{ConditionStatus, EventPlatform},
    observe::references,
    servers::NetworkServers,
    settings::Settings,
};

/// How long a lease holds without being renewed, in seconds.
const LEASE_SECONDS: u64 = 30;
/// How long before its end a lease is renewed, in seconds.
const LEASE_GRACE_SECONDS: u64 = 15;
/// The gauge of platforms that are Degraded; the leader alone has it.
pub const DEGRADED_PLATFORMS: &str = "eventplatform_operator_degraded_platforms";
/// How often they are counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Runs until SIGTERM, or until the lease is lost.
pub async fn run(settings: Settings, admin: std::net::SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(admin).await.with_context(|| format!("ADMIN_ADDR: cannot listen on {admin}"))?;
    tokio::spawn(async move { axum::serve(listener, admin_router()).await });
    let client = Client::try_default().await.context("no way to the API server")?;
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
            // Another replica may lead already: nothing more may be written, so the process ends.
            _ = lost => anyhow::bail!("the lease was lost"),
        }
    };
    let result = tokio::select! {
        result = control => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // Closing the channel makes the keeper give the lease up, so that the next replica need not wait for its end.
    drop(leading);
    tokio::time::timeout(Duration::from_secs(5), keeper).await.ok();
    result
}

/// Watches platforms and what belongs to them, and reconciles. Ends with the watches, which is never.
pub async fn control(client: Client, settings: Settings) {
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(settings.pod_name.clone()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let concurrency = settings.concurrency;
    let namespace = settings.watch_namespace.clone();
    let platforms: Api<EventPlatform> = match &namespace {
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
    // Made-up credentials have no owner, and those that a spec refers to are somebody else's.
    let store = controller.store();
    let secrets = dynamic(&client, namespace.as_deref(), Kind::Secret);
    let platforms = store.clone();
    let mapper = move |secret: DynamicObject| concerned(&secret, &store);
    controller = controller.watches_with(secrets, Kind::Secret.resource(), watcher::Config::default(), mapper);
    let operator = Operator::new(client, Arc::new(NetworkServers), settings, Clock::system(), Some(recorder));
    let reconciling = controller.run(reconcile, error_policy, Arc::new(operator)).for_each(|result| async {
        if let Err(error) = result {
            tracing::debug!(%error, "reconcile");
        }
    });
    tokio::select! { () = reconciling => {}, () = count_degraded(platforms) => {} }
}

/// Keeps the gauge of platforms that are Degraded. Counted from the store, it forgets platforms that are deleted.
async fn count_degraded(platforms: Store<EventPlatform>) {
    loop {
        let count = platforms.state().iter().filter(|platform| is_degraded(platform)).count();
        metrics::gauge!(DEGRADED_PLATFORMS).set(u32::try_from(count).unwrap_or(u32::MAX));
        tokio::time::sleep(COUNT_EVERY).await;
    }
}

fn is_degraded(platform: &EventPlatform) -> bool {
    let conditions = platform.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|condition| condition.type_ == "Degraded")
        .any(|condition| condition.status == ConditionStatus::True)
}

fn dynamic(client: &Client, namespace: Option<&str>, kind: Kind) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind.resource()),
        None => Api::all_with(client.clone(), &kind.resource()),
    }
}

/// The platforms that a Secret concerns: the one it was made for, and those whose spec names it.
fn concerned(secret: &DynamicObject, store: &Store<EventPlatform>) -> Vec<ObjectRef<EventPlatform>> {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let labels = secret.metadata.labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let made_for = (label("app.kubernetes.io/managed-by") == Some(MANAGED_BY))
        .then(|| label("app.kubernetes.io/instance"))
        .flatten();
    store
        .state()
        .into_iter()
        .filter(|platform| platform.metadata.namespace == secret.metadata.namespace)
        .filter(|platform| {
            platform.metadata.name.as_deref() == made_for
                || references(&platform.spec).iter().any(|reference| reference.name == name)
        })
        .map(|platform| ObjectRef::from_obj(platform.as_ref()))
        .collect()
}

/// Health and metrics. A replica that waits for the lease is healthy too.
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
