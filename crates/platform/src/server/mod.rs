//! The two listeners of a program, their timeouts, and the way it stops.
//!
//! On SIGTERM it is unready at once, accepts for some more seconds until routers have noticed, and then drains.
//!
//! - `listener`: accepts connections, and closes those that make no progress; `activity`: the state of each of them
//! - `socket` and `refusal`: give hyper's own responses the shape of problems; `headers`: the headers of every response
//! - `requests`: what happens around every request; `body`: its body; `admission`: the limit of concurrent requests

mod activity;
#[cfg(feature = "api")]
mod admission;
mod body;
mod headers;
mod listener;
mod refusal;
mod requests;
mod socket;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "api")]
pub use self::admission::{limited, limited_to_constant};
use self::listener::Listener;
pub use self::requests::with_defaults;
use crate::{Lifecycle, config::ServerArgs, health::Readiness, telemetry};

/// Connections to the admin listener at once: probes, scrapers, and an operator's requests.
const ADMIN_CONNECTIONS: usize = 64;
/// File descriptors kept for other uses than clients: databases, RabbitMQ, neighbours, the admin listener, files.
const OTHER_DESCRIPTORS: usize = 256;
/// How often samples of histograms are moved into their buckets. Until then, or until a scrape, each takes memory.
const METRICS_UPKEEP: Duration = Duration::from_secs(10);

/// Serves `router` with the platform's defaults, and the admin listener, until SIGTERM or SIGINT and the drain.
///
/// Fails when an address cannot be bound.
pub async fn serve(
    args: &ServerArgs,
    router: Router,
    readiness: Readiness,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    let public = bind("LISTEN_ADDR", args.listen_addr).await?;
    let admin = bind("ADMIN_ADDR", args.admin_addr).await?;
    tracing::info!(address = %public.local_addr()?, admin = %admin.local_addr()?, "listening");
    let start = |name, socket, router, max_connections, stop| {
        let router = with_defaults(router, args);
        tokio::spawn(Listener { socket, name, router, max_connections, args: args.clone() }.run(stop))
    };
    let admin_stop = CancellationToken::new();
    let admin_router = admin_router(readiness, lifecycle.clone());
    let admin_task = start("admin", admin, admin_router, ADMIN_CONNECTIONS, admin_stop.clone());
    let public_task = start("public", public, router, max_connections(args), lifecycle.stopping());
    let upkeep = tokio::spawn(run_metrics_upkeep());

    lifecycle.run_until_signal(Duration::from_secs(args.shutdown_delay_seconds)).await?;
    let drained_by = Instant::now() + Duration::from_secs(args.drain_seconds);
    public_task.await.context("public listener")?;
    lifecycle.finish_tasks(drained_by.saturating_duration_since(Instant::now())).await;
    admin_stop.cancel();
    admin_task.await.context("admin listener")?;
    upkeep.abort();
    tracing::info!("stopped");
    Ok(())
}

/// The configured maximum, or what the file descriptors allow. It first raises this process's limit as far as possible.
fn max_connections(args: &ServerArgs) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let allowed = if raised.is_ok() { limit.maximum } else { limit.current };
    let allowed = allowed.and_then(|allowed| usize::try_from(allowed).ok()).unwrap_or(usize::MAX);
    let fit = allowed.saturating_sub(OTHER_DESCRIPTORS).max(1);
    if fit < args.max_connections {
        tracing::warn!(max_connections = args.max_connections, fit, "too few file descriptors for MAX_CONNECTIONS");
    }
    fit.min(args.max_connections)
}

async fn run_metrics_upkeep() {
    loop {
        tokio::time::sleep(METRICS_UPKEEP).await;
        telemetry::metrics_handle().run_upkeep();
    }
}

async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting}: cannot listen on {address}"))
}

fn admin_router(readiness: Readiness, lifecycle: Lifecycle) -> Router {
    Router::new()
        .route("/livez", get(|| async { Json(serde_json::json!({ "status": "alive" })) }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state((readiness, lifecycle))
        .merge(failpoint_routes())
}

#[cfg(all(feature = "failpoints", debug_assertions))]
fn failpoint_routes() -> Router {
    crate::failpoint::routes()
}

#[cfg(not(all(feature = "failpoints", debug_assertions)))]
fn failpoint_routes() -> Router {
    Router::new()
}

async fn readyz(State((readiness, lifecycle)): State<(Readiness, Lifecycle)>) -> impl IntoResponse {
    if lifecycle.is_terminating() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "status": "stopping" })));
    }
    match readiness.failures().await {
        failures if failures.is_empty() => (StatusCode::OK, Json(ready(&lifecycle.failing_loops()))),
        failures => {
            let body = serde_json::json!({ "status": "unready", "failures": failures });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}

/// Readiness does not depend on background loops; those that make no progress are only listed.
fn ready(failing_loops: &[String]) -> serde_json::Value {
    if failing_loops.is_empty() {
        return serde_json::json!({ "status": "ready" });
    }
    serde_json::json!({ "status": "ready", "failing_loops": failing_loops })
}

async fn metrics() -> impl IntoResponse {
    let handle = telemetry::metrics_handle();
    handle.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render())
}
