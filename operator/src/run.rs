//! The operator as a process: watches and leader election.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use futures::{StreamExt, future::ready};
use kube::{
    Api, Client, Resource as _,
    api::ListParams,
    core::{ApiResource, DynamicObject, DynamicResourceScope, PartialObjectMeta},
    runtime::{
        Controller, controller,
        events::{Recorder, Reporter},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use kube_lease_manager::LeaseManagerBuilder;
use platform::Clock;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    admin::{self, Health, LEADING, WATCHING},
    controller::{GuardedPlatform, Operator, error_policy, reconcile},
    dereference::references,
    resource::{FIELD_MANAGER, Kind, MANAGED_BY},
    servers::NetworkServers,
    settings::Settings,
};

/// How long the lease is valid after a renewal.
const LEASE_SECONDS: u64 = 30;
/// How long before its expiry the lease is renewed.
const LEASE_GRACE_SECONDS: u64 = 15;
/// The pause before the API server is asked again whether it knows the kind.
const KIND_INTERVAL: Duration = Duration::from_secs(2);

/// Runs until SIGTERM, or until the lease is lost.
pub async fn run(settings: Settings, admin: std::net::SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(admin).await.with_context(|| format!("ADMIN_ADDR: cannot listen on {admin}"))?;
    let health = Health::default();
    let router = admin::router(health.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::try_default().await.context("cannot reach the API server")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    tokio::select! {
        () = wait_for_kind(&client, &settings, &health) => health.standby(),
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    }
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
    tracing::info!("waiting for the lease");
    let control = async {
        leading.wait_for(|leading| *leading).await.context("the lease keeper ended")?;
        tracing::info!("leading");
        metrics::gauge!(LEADING).set(1.0);
        let lost = leading.wait_for(|leading| !*leading);
        tokio::select! {
            () = control(client, settings, health) => anyhow::bail!("the controller ended"),
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

fn platforms(client: &Client, settings: &Settings) -> Api<GuardedPlatform> {
    match &settings.watch_namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Waits until the API server knows the kind and lets the operator list it.
pub async fn wait_for_kind(client: &Client, settings: &Settings, health: &Health) {
    while let Err(error) = platforms(client, settings).list(&ListParams::default().limit(1)).await {
        let problem = format!("EventPlatforms cannot be listed; are their definition and the roles installed? {error}");
        if health.problem().as_ref() != Some(&problem) {
            tracing::warn!("{problem}");
            health.starting(problem);
        }
        tokio::time::sleep(KIND_INTERVAL).await;
    }
}

/// Watches platforms and their objects, and reconciles. Never returns.
pub async fn control(client: Client, settings: Settings, health: Health) {
    metrics::gauge!(WATCHING).set(0.0);
    health.starting("the platforms have not been listed yet");
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(settings.pod_name.clone()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let concurrency = settings.concurrency;
    let namespace = settings.watch_namespace.clone();
    let mut controller = Controller::new(platforms(&client, &settings), watcher::Config::default())
        .with_config(kube::runtime::Config::default().debounce(Duration::from_millis(300)).concurrency(concurrency));
    let ours = watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_optional() && *kind != Kind::Secret) {
        let resource = kind.resource();
        controller =
            controller.owns_with(dynamic::<DynamicObject>(&client, namespace.as_deref(), kind), resource, ours.clone());
    }
    // Generated credentials have no owner under Retain, and the Secrets that a spec refers to are somebody else's.
    let store = controller.store();
    // Only their metadata: what every other Secret of the cluster holds does not concern the operator.
    let secrets: Api<PartialObjectMeta<DynamicObject>> = dynamic(&client, namespace.as_deref(), Kind::Secret);
    let listed = store.clone();
    let mapper = move |secret: PartialObjectMeta<DynamicObject>| platforms_of_secret(&secret, &store);
    controller = controller.watches_with(secrets, Kind::Secret.resource(), watcher::Config::default(), mapper);
    let servers = Arc::new(NetworkServers::default());
    let operator = Arc::new(Operator::new(client, servers, settings, Clock::system(), Some(recorder)));
    let reconciling = controller.run(reconcile, error_policy, operator.clone()).for_each(|result| {
        match result {
            // Nothing tells of the deletion itself, but the end of its objects and the next resync come to this.
            Err(controller::Error::ObjectNotFound(gone)) => {
                operator.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
            }
            Err(controller::Error::QueueError(error)) => health.watch_failed(&error.to_string()),
            Err(error) => tracing::debug!(%error, "reconcile"),
            Ok(_) => {}
        }
        ready(())
    });
    let list = async {
        match listed.wait_until_ready().await {
            Ok(()) => health.watching(listed),
            Err(error) => tracing::error!(%error, "the watch of the platforms ended"),
        }
    };
    tokio::join!(reconciling, list);
}

fn dynamic<K>(client: &Client, namespace: Option<&str>, kind: Kind) -> Api<K>
where
    K: kube::Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind.resource()),
        None => Api::all_with(client.clone(), &kind.resource()),
    }
}

/// The platform that a Secret was generated for, and those whose spec refers to it.
fn platforms_of_secret(
    secret: &PartialObjectMeta<DynamicObject>,
    store: &Store<GuardedPlatform>,
) -> Vec<ObjectRef<GuardedPlatform>> {
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
