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

use super::{body, headers::DefaultHeaders};
use crate::{
    ApiError,
    config::ServerArgs,
    error::Kind,
    trace::{REQUEST_ID, RequestContext, TRACEPARENT},
};

/// The longest path that logs and refusals show, in bytes.
const MAX_SHOWN_PATH: usize = 128;
/// The longest segment of a path that logs show, in bytes. Ids are shorter; what is longer may give access to something,
/// such as the code of a ticket.
const MAX_LOGGED_SEGMENT: usize = 64;

/// Wraps a router in the platform's defaults; [`super::serve`] does so itself, tests that bind no port call it.
pub fn with_defaults(router: Router, args: &ServerArgs) -> Router {
    let defaults = Defaults {
        time: args.request_timeout(),
        body_time: args.request_body_timeout(),
        headers: DefaultHeaders::new(args),
    };
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn(move |request: Request, next: Next| around(defaults, request, next)))
}

/// The settings for every request of a program.
#[derive(Clone, Copy)]
struct Defaults {
    /// The longest time from the complete body to the start of the response.
    time: Duration,
    /// The longest time for the body to arrive.
    body_time: Duration,
    headers: DefaultHeaders,
}

async fn unknown_route(uri: Uri) -> ApiError {
    ApiError::not_found("route_not_found", format!("nothing is at {}", truncated(uri.path())))
}

async fn unknown_method(method: Method, uri: Uri) -> ApiError {
    let kind = Kind::BadRequest(StatusCode::METHOD_NOT_ALLOWED);
    let detail = format!("{} does not allow {}", truncated(uri.path()), truncated(method.as_str()));
    ApiError::new(kind, "method_not_allowed", detail)
}

/// The beginning of a text whose length the client chooses.
fn truncated(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_SHOWN_PATH)]
}

/// A path as logs show it: the beginning, without long segments.
fn loggable(path: &str) -> String {
    let shown = path.split('/').map(|segment| if segment.len() > MAX_LOGGED_SEGMENT { "…" } else { segment });
    let path = shown.collect::<Vec<_>>().join("/");
    truncated(&path).to_owned()
}

/// The method as a label of metrics and logs. Clients may invent methods, and every label would stay for good.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

async fn around(defaults: Defaults, request: Request, next: Next) -> Response {
    let context = request_context(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!(
        "request",
        request_id = context.request_id,
        trace_id = context.trace.trace_id(),
        method = method_label(&method),
        path = loggable(request.uri().path())
    );
    let request_id = HeaderValue::from_str(&context.request_id);
    let work = async {
        let started = Instant::now();
        let mut response = match body::buffer(request, defaults.body_time).await {
            Ok(request) => bounded(defaults.time, request, next).await,
            Err(refusal) => refusal,
        };
        defaults.headers.add_to(response.headers_mut());
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
    let labels =
        [("method", method_label(method).to_owned()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::histogram!("eventplatform_http_request_seconds", &labels).record(elapsed.as_secs_f64());
    let elapsed_ms = elapsed.as_millis();
    if method.is_safe() && status.is_success() {
        tracing::debug!(status = status.as_u16(), elapsed_ms, "answered");
    } else {
        tracing::info!(status = status.as_u16(), elapsed_ms, "answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_method_is_labelled_other() {
        let made_up = Method::from_bytes(b"PROPFIND42").unwrap();

        assert_eq!(method_label(&made_up), "other");
        assert_eq!(method_label(&Method::PATCH), "PATCH");
    }

    #[test]
    fn a_long_path_is_truncated_between_characters() {
        let path = format!("/{}", "ü".repeat(100));

        assert_eq!(truncated(&path).len(), MAX_SHOWN_PATH - 1);
        assert_eq!(truncated("/bookings"), "/bookings");
    }

    #[test]
    fn the_log_shows_no_long_segment() {
        let code = "a".repeat(65);

        assert_eq!(loggable(&format!("/tickets/{code}/x")), "/tickets/…/x");
        assert_eq!(loggable("/bookings/7"), "/bookings/7");
        assert!(loggable(&"/abc".repeat(100)).len() <= MAX_SHOWN_PATH);
    }
}
