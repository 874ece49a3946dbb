//! What happens around every request: context, deadline, panics, logs, metrics, and problems for unknown routes.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::anyhow;
use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    ApiError,
    config::ServiceArgs,
    error::Kind,
    trace::{REQUEST_ID, RequestContext, TRACEPARENT},
};

/// Wraps a router in the platform's defaults; [`super::serve`] does so itself, tests that bind no port call it.
pub fn with_defaults(router: Router, args: &ServiceArgs) -> Router {
    let limit = args.request_timeout();
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn(move |request: Request, next: Next| around(limit, request, next)))
}

async fn unknown_route(uri: Uri) -> ApiError {
    ApiError::not_found("route_not_found", format!("nothing is at {}", uri.path()))
}

async fn unknown_method(method: Method, uri: Uri) -> ApiError {
    let kind = Kind::BadRequest(StatusCode::METHOD_NOT_ALLOWED);
    ApiError::new(kind, "method_not_allowed", format!("{} does not take {method}", uri.path()))
}

async fn around(limit: Duration, request: Request, next: Next) -> Response {
    let context = request_context(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!(
        "request",
        request_id = context.request_id,
        trace_id = context.trace.trace_id(),
        method = method.as_str(),
        path
    );
    let request_id = HeaderValue::from_str(&context.request_id);
    let work = async {
        let started = Instant::now();
        let mut response = bounded(limit, request, next).await;
        if let Ok(request_id) = request_id {
            response.headers_mut().insert(REQUEST_ID, request_id);
        }
        record(&method, route, response.status(), started.elapsed());
        response
    };
    context.scope(work).instrument(span).await
}

fn request_context(headers: &HeaderMap) -> RequestContext {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    RequestContext::from_headers(text(REQUEST_ID), text(TRACEPARENT))
}

async fn bounded(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, AssertUnwindSafe(next.run(request)).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => ApiError::internal(anyhow!("a handler panicked")).into_response(),
        Err(_) => {
            let detail = "this took too long; ask again, with the same Idempotency-Key if you sent one";
            ApiError::unavailable("request_timeout", detail, anyhow!("no response within {limit:?}")).into_response()
        }
    }
}

fn record(method: &Method, route: String, status: StatusCode, elapsed: Duration) {
    let labels = [("method", method.to_string()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::histogram!("eventplatform_http_request_seconds", &labels).record(elapsed.as_secs_f64());
    let elapsed_ms = elapsed.as_millis();
    if method.is_safe() && status.is_success() {
        tracing::debug!(status = status.as_u16(), elapsed_ms, "answered");
    } else {
        tracing::info!(status = status.as_u16(), elapsed_ms, "answered");
    }
}
