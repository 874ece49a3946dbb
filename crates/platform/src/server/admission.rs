//! Admission: how many requests a replica handles at once. Further requests wait for a while, and then get 429.
//!
//! Without a limit, overload ends in timeouts: the work is wasted, and the answers are 5xx. How many fit depends on the
//! machine, so the limit follows the measured latency, as in Netflix's `concurrency-limits`: it grows by one while requests
//! are fast and the limit is used, and shrinks when one is slow. Little's law says how far: the number of requests that
//! ended within the time that is slow is the number that can be under way without being slow.

use std::{
    ops::RangeInclusive,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aide::axum::ApiRouter;
use axum::{
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use contracts::problem::OVERLOADED;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::{ApiError, ApiResult};

/// The most concurrent requests of a group of routes. With statements of some milliseconds and a dozen connections, the
/// last of them still gets a connection long before its timeout.
const MAX_CONCURRENT: usize = 32;
/// The least that the limit shrinks to: a request that waits for another service must not keep all others out.
const MIN_CONCURRENT: usize = 4;
/// A request that takes longer says that too many run at once: half of the time that booking-service waits for
/// event-service. A shorter time costs throughput, because smaller groups are committed together.
const SLOW: Duration = Duration::from_millis(2500);
/// The limit after a slow request, as a part of the one before: at least and at most.
const BACKOFF: RangeInclusive<f64> = 0.5..=0.9;
/// The longest that a request waits for admission.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
/// `Retry-After` of a request that was not admitted.
const RETRY_AFTER_SECONDS: u32 = 2;

/// Admits up to 32 concurrent requests to these routes, fewer while they are slow. Others wait for up to 5 s, first come
/// first served, and are then refused with 429 `overloaded`. A stream counts only until it begins.
pub fn limited<S: Clone + Send + Sync + 'static>(table: ApiRouter<S>) -> ApiRouter<S> {
    limited_to(MIN_CONCURRENT, MAX_CONCURRENT, table)
}

/// [`limited`] to 32 whatever the latency, for routes that mostly wait for somebody outside of the platform.
pub fn limited_to_constant<S: Clone + Send + Sync + 'static>(table: ApiRouter<S>) -> ApiRouter<S> {
    limited_to(MAX_CONCURRENT, MAX_CONCURRENT, table)
}

fn limited_to<S: Clone + Send + Sync + 'static>(min: usize, max: usize, table: ApiRouter<S>) -> ApiRouter<S> {
    table.layer(from_fn_with_state(Arc::new(Limiter::new(min, max)), admit))
}

async fn admit(State(limiter): State<Arc<Limiter>>, request: Request, next: Next) -> ApiResult<Response> {
    let waiting = timeout(QUEUE_TIMEOUT, limiter.permits.clone().acquire_owned());
    let Ok(Ok(permit)) = waiting.await else {
        let detail = "too many requests at once; try again in a moment, with the same Idempotency-Key if you sent one";
        return Err(ApiError::too_many_requests(OVERLOADED, detail, RETRY_AFTER_SECONDS));
    };
    Ok(limiter.run(permit, next.run(request)).await)
}

/// The permits of a group of routes, as many as its limit.
struct Limiter {
    permits: Arc<Semaphore>,
    limit: Mutex<Limit>,
}

struct Limit {
    min: usize,
    max: usize,
    /// Its whole part is the number of permits that there shall be.
    value: f64,
    /// The permits that there are, free or taken.
    permits: usize,
    /// How many requests have ended.
    ended: u64,
    shrunk_at: Option<Instant>,
}

impl Limiter {
    fn new(min: usize, max: usize) -> Self {
        let limit = Limit { min, max, value: as_value(max), permits: max, ended: 0, shrunk_at: None };
        Self { permits: Arc::new(Semaphore::new(max)), limit: Mutex::new(limit) }
    }

    /// Runs an admitted request, and adapts the limit to how long it takes.
    async fn run<T>(&self, permit: OwnedSemaphorePermit, request: impl Future<Output = T>) -> T {
        let _admitted = Admitted { limiter: self, permit: Some(permit) };
        let ended_before = self.lock().ended;
        let mut request = pin!(request);
        if let Ok(response) = timeout(SLOW, &mut request).await {
            self.lock().grow(self.permits.available_permits());
            return response;
        }
        self.lock().shrink(ended_before);
        request.await
    }

    /// Returns a permit, or keeps it where there are more than the limit.
    fn release(&self, permit: OwnedSemaphorePermit) {
        let mut limit = self.lock();
        limit.ended += 1;
        if limit.permits > limit.target() {
            limit.permits -= 1;
            permit.forget();
            return;
        }
        if limit.permits < limit.target() {
            limit.permits += 1;
            self.permits.add_permits(1);
        }
        drop(limit);
        drop(permit);
    }

    fn lock(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limit {
    /// A request was fast, while so many permits were free.
    fn grow(&mut self, free: usize) {
        if !self.has_just_shrunk() && free < self.permits / 2 {
            self.value = (self.value + 1.0 / self.value).min(as_value(self.max));
        }
    }

    /// A request is slow; when it began, so many had ended. Requests that are slow together are one sign.
    #[expect(clippy::cast_precision_loss, reason = "requests of some seconds")]
    fn shrink(&mut self, ended_before: u64) {
        if !self.has_just_shrunk() {
            let fit = (self.ended - ended_before) as f64;
            self.value = fit.clamp(self.value * BACKOFF.start(), self.value * BACKOFF.end()).max(as_value(self.min));
            self.shrunk_at = Some(Instant::now());
        }
    }

    fn has_just_shrunk(&self) -> bool {
        self.shrunk_at.is_some_and(|at| at.elapsed() < SLOW)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to some dozens")]
    fn target(&self) -> usize {
        self.value as usize
    }
}

#[expect(clippy::cast_precision_loss, reason = "from 1 to some dozens")]
fn as_value(permits: usize) -> f64 {
    permits as f64
}

/// A request under way. Its permit is returned when it ends, or when its client goes away.
struct Admitted<'a> {
    limiter: &'a Limiter,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.limiter.release(permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use aide::axum::routing::get;
    use axum::{Router, body::Body, http::StatusCode};
    use futures::future::join_all;
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::*;

    /// Two permits, and requests that end when they are notified.
    fn router(done: Arc<Notify>) -> Router {
        let work = move || async move { done.notified().await };
        limited_to(2, 2, ApiRouter::new().api_route("/", get(work))).into()
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

    /// A request that takes `latency`.
    async fn run(limiter: &Limiter, latency: Duration) {
        let permit = limiter.permits.clone().acquire_owned().await.unwrap();
        limiter.run(permit, tokio::time::sleep(latency)).await;
    }

    /// That many requests at a time, for some rounds; the limit afterwards.
    async fn rounds(limiter: &Limiter, at_a_time: usize, count: usize, latency: Duration) -> usize {
        for _ in 0..count {
            join_all((0..at_a_time).map(|_| run(limiter, latency))).await;
        }
        limiter.lock().permits
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_shrinks_while_requests_are_slow_and_grows_back_when_they_are_fast() {
        let limiter = Limiter::new(2, 8);

        assert_eq!(rounds(&limiter, 8, 5, Duration::from_secs(3)).await, 2);
        assert_eq!(rounds(&limiter, 8, 300, Duration::from_millis(50)).await, 8);
        assert_eq!(limiter.permits.available_permits(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_were_slow_together_shrink_the_limit_once() {
        let limiter = Limiter::new(2, 20);

        assert_eq!(rounds(&limiter, 20, 1, Duration::from_secs(3)).await, 10);
    }

    /// Four requests a second end, whatever the limit.
    #[tokio::test(start_paused = true)]
    async fn the_limit_settles_where_requests_are_no_longer_slow() {
        let limiter = Limiter::new(2, 32);
        let core = Semaphore::new(1);
        let work = async || {
            let permit = limiter.permits.clone().acquire_owned().await.unwrap();
            let work = async {
                let _turn = core.acquire().await.unwrap();
                tokio::time::sleep(Duration::from_millis(250)).await;
            };
            limiter.run(permit, work).await;
        };

        join_all((0..80).map(|_| work())).await;

        let limit = limiter.lock().permits;
        assert!((5..=10).contains(&limit), "{limit}");
    }
}
