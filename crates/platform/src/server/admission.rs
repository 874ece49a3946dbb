//! Admission: how many requests a replica handles at once. Further requests wait for a while, and then get 429.
//!
//! Without a limit, overload ends in timeouts: the work is wasted, and the answers are 5xx.

use std::{sync::Arc, time::Duration};

use aide::axum::ApiRouter;
use axum::{
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use tokio::sync::Semaphore;

use crate::{ApiError, ApiResult};

/// The most concurrent requests of a group of routes. With statements of some milliseconds and a dozen connections, the
/// last of them still gets a connection long before its timeout. And where the databases manage no more than some dozens
/// a second, all of them are answered before their callers give up.
const MAX_CONCURRENT: usize = 32;
/// The longest that a request waits for admission.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
/// `Retry-After` of a request that was not admitted.
const RETRY_AFTER_SECONDS: u32 = 2;

/// Admits at most 32 concurrent requests to these routes. Others wait for up to 5 s, first come first served, and are
/// then refused with 429 `overloaded`. A stream counts only until it begins.
pub fn limited<S: Clone + Send + Sync + 'static>(table: ApiRouter<S>) -> ApiRouter<S> {
    limited_to(MAX_CONCURRENT, table)
}

fn limited_to<S: Clone + Send + Sync + 'static>(max_concurrent: usize, table: ApiRouter<S>) -> ApiRouter<S> {
    table.layer(from_fn_with_state(Arc::new(Semaphore::new(max_concurrent)), admit))
}

async fn admit(State(permits): State<Arc<Semaphore>>, request: Request, next: Next) -> ApiResult<Response> {
    let Ok(Ok(_permit)) = tokio::time::timeout(QUEUE_TIMEOUT, permits.acquire()).await else {
        let detail = "too many are here at once; ask again in a moment, with the same Idempotency-Key if you sent one";
        return Err(ApiError::too_many_requests("overloaded", detail, RETRY_AFTER_SECONDS));
    };
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use aide::axum::routing::get;
    use axum::{Router, body::Body, http::StatusCode};
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::*;

    /// Two permits, and requests that end when they are notified.
    fn router(done: Arc<Notify>) -> Router {
        let work = move || async move { done.notified().await };
        limited_to(2, ApiRouter::new().api_route("/", get(work))).into()
    }

    async fn ask(router: Router) -> StatusCode {
        router.oneshot(Request::new(Body::empty())).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_over_the_limit_waits_and_then_gets_429() {
        let done = Arc::new(Notify::new());
        let router = router(done.clone());
        let under_way = [tokio::spawn(ask(router.clone())), tokio::spawn(ask(router.clone()))];
        tokio::task::yield_now().await;

        let refused = router.clone().oneshot(Request::new(Body::empty())).await.unwrap();

        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "2");
        let waiting = tokio::spawn(ask(router));
        tokio::task::yield_now().await;
        done.notify_one();
        tokio::task::yield_now().await;
        done.notify_waiters();
        for request in under_way.into_iter().chain([waiting]) {
            done.notify_one();
            assert_eq!(request.await.unwrap(), StatusCode::OK);
        }
    }
}
