//! The state of one connection, and how long it may stay without progress.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::{sync::Notify, time::Instant};

/// The longest time for the head of a request, from the connection's start or from the head's first byte.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request. Longer than the 60 s of nginx and most load balancers, so
/// that they close first: otherwise they could send a request on a connection that we are just closing.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may read nothing of a response. An event stream sends something every 15 s.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The state of one connection, shared by its socket, its requests and the listener. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Notified when a deadline has moved closer.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose response is not sent yet.
    requests: usize,
    /// Of these, the ones whose body has not arrived yet.
    uploads: usize,
    /// Of these, the ones whose response has begun.
    responses: usize,
    served: bool,
    http2: bool,
    /// Since when the connection has waited only for the client.
    waiting_since: Instant,
    /// When the first byte of the next head arrived. HTTP/1 only: there, bytes between requests always belong to a
    /// head.
    head_since: Option<Instant>,
    /// When the client last accepted a part of a response.
    progress_at: Instant,
    /// Since when the socket accepts no more bytes.
    blocked_since: Option<Instant>,
}

impl Activity {
    /// A connection that was just accepted.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let state = State {
            requests: 0,
            uploads: 0,
            responses: 0,
            served: false,
            http2: false,
            waiting_since: now,
            head_since: None,
            progress_at: now,
            blocked_since: None,
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// A request's head has arrived. The request is active until the guard is dropped.
    pub(super) fn request(&self, http2: bool) -> ActiveRequest {
        let mut state = self.lock();
        state.requests += 1;
        state.served = true;
        state.http2 = http2;
        state.head_since = None;
        ActiveRequest { activity: self.clone(), responding: false }
    }

    /// The connection waits for the body of a request until the guard is dropped.
    pub(super) fn upload(&self) -> Upload {
        let mut state = self.lock();
        state.uploads += 1;
        state.waiting_since = Instant::now();
        Upload { activity: self.clone() }
    }

    /// Bytes have arrived.
    pub(super) fn received(&self) {
        let mut state = self.lock();
        if state.requests == 0 && state.served && !state.http2 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
            self.inner.changed.notify_one();
        }
    }

    /// The socket accepted bytes, or (`blocked`) accepts no more for now.
    pub(super) fn wrote(&self, blocked: bool) {
        let mut state = self.lock();
        if !blocked {
            if state.blocked_since.take().is_some() {
                // The client is reading the rest of a response, however slowly.
                state.waiting_since = Instant::now();
            }
        } else if state.blocked_since.is_none() {
            state.blocked_since = Some(Instant::now());
            self.inner.changed.notify_one();
        }
    }

    /// Since when the connection has waited only for the client; `None` while a request is handled or answered.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.requests == state.uploads).then_some(state.waiting_since)
    }

    /// Whether no request is active.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().requests == 0
    }

    /// Returns once the client has exceeded a deadline.
    pub(super) async fn overdue(&self) {
        loop {
            let deadline = self.lock().deadline();
            if deadline <= Instant::now() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => {}
                () = self.inner.changed.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// When to check again, or to give up. The time of handlers and bodies is limited elsewhere.
    fn deadline(&self) -> Instant {
        let nothing_sent = self.blocked_since.map(|since| since + STALL_TIMEOUT);
        let nothing_read = (self.responses > 0).then(|| self.progress_at + STALL_TIMEOUT);
        let waiting = if self.requests > 0 {
            Instant::now() + IDLE_TIMEOUT
        } else if let Some(since) = self.head_since {
            since + HEAD_TIMEOUT
        } else if self.served {
            self.waiting_since + IDLE_TIMEOUT
        } else {
            self.waiting_since + HEAD_TIMEOUT
        };
        [nothing_sent, nothing_read].into_iter().flatten().fold(waiting, Instant::min)
    }
}

/// A guard: the request is active until it is dropped.
#[derive(Debug)]
pub(super) struct ActiveRequest {
    activity: Activity,
    responding: bool,
}

impl ActiveRequest {
    /// The response's body, which ends the request when it is sent or dropped.
    pub(super) fn respond(mut self, body: Body) -> ResponseBody {
        let mut state = self.activity.lock();
        state.responses += 1;
        state.progress_at = Instant::now();
        self.responding = true;
        drop(state);
        ResponseBody { body, request_guard: self }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.requests -= 1;
        state.responses -= usize::from(self.responding);
        state.waiting_since = Instant::now();
    }
}

/// A body that has not arrived yet.
#[derive(Debug)]
pub(super) struct Upload {
    activity: Activity,
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.activity.lock().uploads -= 1;
    }
}

/// The body of a response.
#[derive(Debug)]
pub(super) struct ResponseBody {
    body: Body,
    request_guard: ActiveRequest,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.request_guard.activity.lock().progress_at = Instant::now();
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the connection may still do nothing.
    async fn left(activity: &Activity) -> Duration {
        let now = Instant::now();
        activity.overdue().await;
        now.elapsed()
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_has_as_long_as_a_head_may_take() {
        let activity = Activity::new();
        activity.received();

        assert_eq!(left(&activity).await, HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_served_connection_may_idle_but_its_next_head_has_a_deadline() {
        let activity = Activity::new();
        drop(activity.request(false));
        pass(30).await;
        let idle = activity.clone();
        let idle = tokio::spawn(async move { left(&idle).await });
        tokio::task::yield_now().await;

        activity.received();

        assert_eq!(idle.await.unwrap(), HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn http2_frames_between_requests_do_not_count_as_a_head() {
        let activity = Activity::new();
        drop(activity.request(true));
        pass(30).await;
        activity.received();

        assert_eq!(left(&activity).await, Duration::from_secs(45));
    }

    #[tokio::test(start_paused = true)]
    async fn an_active_request_has_no_deadline_and_its_connection_idles_from_its_end_on() {
        let activity = Activity::new();
        let request = activity.request(false);
        let waiting = activity.clone();
        let waiting = tokio::spawn(async move { left(&waiting).await });
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(!waiting.is_finished());
        assert_eq!(activity.waiting_since(), None);

        drop(request);

        assert_eq!(waiting.await.unwrap(), Duration::from_secs(300) + IDLE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_not_read_is_overdue() {
        let activity = Activity::new();
        let _response = activity.request(true).respond(Body::from("of some length"));

        assert_eq!(left(&activity).await, STALL_TIMEOUT);
        activity.wrote(true);
        pass(5).await;
        activity.wrote(false);
        assert!(!activity.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_counts_as_waiting_for_the_client() {
        let activity = Activity::new();
        let _request = activity.request(false);
        let upload = activity.upload();
        assert!(activity.waiting_since().is_some());

        drop(upload);

        assert_eq!(activity.waiting_since(), None);
    }
}
