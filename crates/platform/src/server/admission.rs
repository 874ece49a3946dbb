//! How many requests a replica works on at once. What comes on top waits a moment, and is then told to come back.
//!
//! Without a limit, overload ends in timeouts halfway: work that was done for nobody, and answers that are 5xx.

use std::{sync::Arc, time::Duration};

use aide::axum::ApiRouter;
use axum::{
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use tokio::sync::Semaphore;

use crate::{ApiError, ApiResult};

/// How many requests a group of routes works on at once. With statements of some milliseconds and a dozen connections,
/// the last of so many still gets a connection long before it gives up on one; and so few from every caller still get
/// an answer before the caller gives up, where the databases manage no more than some dozens a second.
const AT_ONCE: usize = 32;
/// The longest that a request waits for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// When it is told to come back.
const RETRY_AFTER_SECONDS: u32 = 2;

/// Lets at most 32 requests of these routes be under way together. Others wait for up to 5 s, first come first served,
/// and are then refused with 429 `overloaded`. Of a stream, only the beginning counts.
pub fn limited<S: Clone + Send + Sync + 'static>(table: ApiRouter<S>) -> ApiRouter<S> {
    limited_to(AT_ONCE, table)
}

fn limited_to<S: Clone + Send + Sync + 'static>(at_once: usize, table: ApiRouter<S>) -> ApiRouter<S> {
    table.layer(from_fn_with_state(Arc::new(Semaphore::new(at_once)), admit))
}

async fn admit(State(turns): State<Arc<Semaphore>>, request: Request, next: Next) -> ApiResult<Response> {
    let Ok(Ok(_turn)) = tokio::time::timeout(LONGEST_WAIT, turns.acquire()).await else {
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

    /// Two turns, and requests that end when they are told to.
    fn router(done: Arc<Notify>) -> Router {
        let work = move || async move { done.notified().await };
        limited_to(2, ApiRouter::new().api_route("/", get(work))).into()
    }

    async fn ask(router: Router) -> StatusCode {
        router.oneshot(Request::new(Body::empty())).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_too_many_waits_and_is_then_told_to_come_back() {
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
