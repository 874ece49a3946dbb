//! The two listeners of a program, their timeouts, and the way it stops.
//!
//! On SIGTERM it is unready at once, accepts for some seconds more (routers take their time to notice), then drains.
//! `axum::serve` has no header-read timeout, hence the accept loop of our own.

mod admission;
mod lifecycle;
mod requests;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub use self::{admission::limited, lifecycle::Lifecycle, requests::with_defaults};
use crate::{config::ServiceArgs, extract::ClientAddr, health::Readiness, telemetry};

/// The longest a client may take to send its request's head.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `router` with the platform's defaults, and the admin listener, until SIGTERM or SIGINT and the drain.
///
/// Fails when an address cannot be bound.
pub async fn serve(
    args: &ServiceArgs,
    router: Router,
    readiness: Readiness,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    let public = bind("LISTEN_ADDR", args.listen_addr).await?;
    let admin = bind("ADMIN_ADDR", args.admin_addr).await?;
    tracing::info!(address = %public.local_addr()?, admin = %admin.local_addr()?, "listening");
    let admin_stop = CancellationToken::new();
    let admin_router = with_defaults(admin_router(readiness, lifecycle.clone()), args);
    let admin_task = tokio::spawn(accept(admin, admin_router, args.clone(), admin_stop.clone()));
    let stopping = lifecycle.stopping();
    let router = with_defaults(router, args);
    let public_task = tokio::spawn(accept(public, router, args.clone(), stopping));

    lifecycle.run_until_signal(Duration::from_secs(args.shutdown_delay_seconds)).await?;
    public_task.await.context("public listener")?;
    lifecycle.finish_tasks(Duration::from_secs(args.drain_seconds)).await;
    admin_stop.cancel();
    admin_task.await.context("admin listener")?;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting}: cannot listen on {address}"))
}

/// Accepts until `stop`, then lets what is under way finish, for the drain time at most.
async fn accept(listener: TcpListener, router: Router, args: ServiceArgs, stop: CancellationToken) {
    let connections = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
    loop {
        let accepted = tokio::select! { () = stop.cancelled() => break, accepted = listener.accept() => accepted };
        match accepted {
            Ok((stream, peer)) => {
                connect(&builder, &connections, stream, peer, router.clone(), args.trusted_hops());
            }
            Err(error) => {
                // Out of descriptors, mostly: some come free by waiting.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(Duration::from_secs(args.drain_seconds), connections.shutdown()).await.is_err() {
        tracing::warn!("connections were still open at the end of the drain time");
    }
}

fn connect(
    builder: &auto::Builder<TokioExecutor>,
    connections: &GracefulShutdown,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    trusted_hops: usize,
) {
    stream.set_nodelay(true).ok();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        let client = ClientAddr::resolve(peer, request.headers(), trusted_hops);
        request.extensions_mut().insert(client);
        router.clone().oneshot(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let watched = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(error, "connection ended");
        }
    });
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

/// Requests are served whatever becomes of background loops: those that do not get on are named.
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
