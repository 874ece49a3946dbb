//! Request bodies, read whole before anything scarce is taken for the request: a slow client waits in nobody's way.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;

use super::activity::Activity;
use crate::{ApiError, error::Kind, extract::MAX_BODY_BYTES};

/// The request with its body in memory, or the answer to a client that did not send it in time or broke it off.
///
/// A body over the limit is handed on as too large, unread or cut off just past the limit: handlers refuse it with 413,
/// but only after 401, 403 and 404.
pub(super) async fn buffer(request: Request, limit: Duration) -> Result<Request, Response> {
    // Nobody reads the body of a request to an unknown route.
    if request.body().is_end_stream() || request.extensions().get::<MatchedPath>().is_none() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    if announced_length(&parts.headers).is_some_and(|length| length > MAX_BODY_BYTES) {
        return Ok(Request::from_parts(parts, Body::empty()));
    }
    let _upload = parts.extensions.get::<Activity>().map(Activity::upload);
    match tokio::time::timeout(limit, read(body)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, bytes.into())),
        Ok(Err(_)) => Err(interrupted().into_response()),
        Err(_) => Err(timed_out(limit, parts.version)),
    }
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads to the end, or just past the limit. Memory grows with what has arrived, not with what was announced.
async fn read(mut body: Body) -> Result<Bytes, axum::Error> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
        if whole.len() > MAX_BODY_BYTES {
            break;
        }
    }
    Ok(whole.into())
}

fn interrupted() -> ApiError {
    ApiError::bad_request("body_interrupted", "the body did not arrive whole")
}

fn timed_out(limit: Duration, version: Version) -> Response {
    let kind = Kind::BadRequest(StatusCode::REQUEST_TIMEOUT);
    let detail = format!("the body did not arrive within {} s; send the request again", limit.as_secs());
    let mut response = ApiError::new(kind, "request_body_timeout", detail).into_response();
    if version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
