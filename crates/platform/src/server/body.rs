//! Request bodies, read completely before the request takes a scarce resource, so that a slow client blocks nobody.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::activity::Activity;
use crate::{ApiError, error::Kind, extract::MAX_BODY_BYTES};

/// Memory for the bodies of all requests of a process together, in KiB.
const BUDGET_KIB: usize = 32 * 1024;
/// `Retry-After` of a request whose body exceeds the budget.
const RETRY_AFTER_SECONDS: u32 = 2;

static BUDGET: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(BUDGET_KIB)));

/// A part of the budget. It is released when the request is dropped.
#[derive(Clone)]
struct Share(#[expect(dead_code, reason = "dropping it releases the memory")] Arc<OwnedSemaphorePermit>);

/// Why a body was not read.
enum Unread {
    Interrupted,
    OverBudget,
}

/// The request with its body in memory, or the response if the client was too slow or disconnected.
///
/// A body over the limit is passed on unread, or cut off just past the limit. Handlers then refuse it with 413, but
/// only after 401, 403 and 404.
pub(super) async fn buffer(request: Request, limit: Duration) -> Result<Request, Response> {
    // Nobody reads the body of a request to an unknown route.
    if request.body().is_end_stream() || request.extensions().get::<MatchedPath>().is_none() {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    if announced_length(&parts.headers).is_some_and(|length| length > MAX_BODY_BYTES) {
        return Ok(Request::from_parts(parts, Body::empty()));
    }
    let _upload = parts.extensions.get::<Activity>().map(Activity::upload);
    match tokio::time::timeout(limit, read(body, &BUDGET)).await {
        Ok(Ok((bytes, share))) => {
            parts.extensions.insert(share);
            Ok(Request::from_parts(parts, bytes.into()))
        }
        Ok(Err(Unread::Interrupted)) => Err(interrupted().into_response()),
        Ok(Err(Unread::OverBudget)) => Err(over_budget().into_response()),
        Err(_) => Err(timed_out(limit, parts.version)),
    }
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads to the end, or just past the limit. Memory grows with what has arrived, not with what was announced.
async fn read(mut body: Body, budget: &Arc<Semaphore>) -> Result<(Bytes, Option<Share>), Unread> {
    let (mut whole, mut held) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Interrupted)?.into_data() else { continue };
        reserve(budget, &mut held, whole.len() + data.len())?;
        if whole.is_empty() && body.is_end_stream() {
            return Ok((data, share(held)));
        }
        whole.extend_from_slice(&data);
        if whole.len() > MAX_BODY_BYTES {
            break;
        }
    }
    Ok((whole.into(), share(held)))
}

/// Makes the part of `budget` that is held large enough for so many bytes.
fn reserve(budget: &Arc<Semaphore>, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Unread> {
    let missing = bytes.div_ceil(1024).saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
    let missing = u32::try_from(missing).map_err(|_| Unread::OverBudget)?;
    if missing == 0 {
        return Ok(());
    }
    let more = budget.clone().try_acquire_many_owned(missing).map_err(|_| Unread::OverBudget)?;
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Ok(())
}

fn share(held: Option<OwnedSemaphorePermit>) -> Option<Share> {
    held.map(|permit| Share(Arc::new(permit)))
}

fn over_budget() -> ApiError {
    let detail = "too many bodies arrive at this moment; ask again, with the same Idempotency-Key if you sent one";
    ApiError::too_many_requests("overloaded", detail, RETRY_AFTER_SECONDS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_over_the_budget_are_refused_until_memory_is_released() {
        let budget = Arc::new(Semaphore::new(3));
        let body = || Body::from(vec![b' '; 2 * 1024]);

        let Ok((bytes, held)) = read(body(), &budget).await else { panic!("there is memory for one") };
        let second = read(body(), &budget).await;
        drop(held);
        let third = read(body(), &budget).await;

        assert_eq!(bytes.len(), 2 * 1024);
        assert!(matches!(second, Err(Unread::OverBudget)));
        assert!(third.is_ok());
    }
}
