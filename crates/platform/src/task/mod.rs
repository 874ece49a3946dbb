//! Background tasks: a loop that panics is restarted, and metrics and `/readyz` show it.
//!
//! - [`repeat`] runs rounds with pauses: sweepers, relays, gauges. Most loops use it.
//! - [`supervise`] runs a loop with its own structure, such as a consumer, which reports to [`Progress`].
//! - [`run_to_completion`] completes the work of a request even if its client disconnects.
//! - [`spawn`] runs a one-off task that nobody waits for, such as an event stream.
//!
//! A panic never ends a loop: replicas see the same data, so the loop would end on one after the other. Metrics:
//! `eventplatform_task_panics_total`, `eventplatform_task_failures_total` and
//! `eventplatform_task_last_success_timestamp_seconds`, each with the label `task`. `/readyz` names the loops that
//! make no progress, and stays 200: requests do not need them, and other replicas see the same data.

mod lifecycle;
mod progress;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::progress::{FIRST_PAUSE, count_panic, jittered, message};
pub use self::{lifecycle::Lifecycle, progress::Progress};
use crate::{retry::Backoff, trace};

/// The pauses after failures. Mostly a server was unavailable, and recovery should start soon after.
const FAILURE_BACKOFF: Backoff = Backoff::new(FIRST_PAUSE, Duration::from_secs(5));
/// A loop that does not succeed for this long, plus the pause between its rounds, counts as failing.
const STALLED_AFTER: Duration = Duration::from_secs(300);

/// The result of a round of [`repeat`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// There is more to do: the next round follows immediately.
    Immediately,
    /// The next round follows after the pause.
    Later,
    /// The next round follows after this time.
    After(Duration),
}

impl Next {
    /// At once if there is `more` to do.
    pub fn immediately_if(more: bool) -> Self {
        if more { Self::Immediately } else { Self::Later }
    }
}

impl From<()> for Next {
    fn from((): ()) -> Self {
        Self::Later
    }
}

/// When the next round of [`repeat`] is due.
#[derive(Clone, Debug)]
pub struct Schedule {
    pause: Duration,
    wake: Option<Arc<Notify>>,
}

impl Schedule {
    /// After `pause`, plus up to a quarter, so that replicas do not run in step.
    pub fn every(pause: Duration) -> Self {
        Self { pause, wake: None }
    }

    /// Or as soon as `wake` is notified. After a failure nothing shortens the pause.
    #[must_use]
    pub fn or_woken_by(self, wake: Arc<Notify>) -> Self {
        Self { wake: Some(wake), ..self }
    }
}

/// Runs `round` until the process stops, the first time at once. After a failure or a panic, it is logged and run
/// again.
pub fn repeat<F, Fut, N, E>(lifecycle: &Lifecycle, task: &'static str, schedule: Schedule, round: F)
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<N, E>> + Send + 'static,
    N: Into<Next> + Send,
    E: Into<anyhow::Error> + Send,
{
    let (round, stop) = (Arc::new(round), lifecycle.stopping());
    supervise_within(lifecycle, task, schedule.pause + STALLED_AFTER, move |progress| {
        let (round, stop, schedule) = (round.clone(), stop.clone(), schedule.clone());
        async move {
            let mut failures = 0;
            while !stop.is_cancelled() {
                let pause = match round().await {
                    Ok(next) => {
                        failures = 0;
                        progress.succeeded();
                        match next.into() {
                            Next::Immediately => {
                                tokio::task::yield_now().await;
                                continue;
                            }
                            Next::Later => schedule.pause.mul_f64(1.0 + rand::random::<f64>() / 4.0),
                            Next::After(pause) => pause,
                        }
                    }
                    Err(error) => {
                        failures += 1;
                        progress.failed(&error.into());
                        jittered(FAILURE_BACKOFF.after(failures))
                    }
                };
                let woken = schedule.wake.as_ref().filter(|_| failures == 0);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                    () = notified(woken) => {}
                }
            }
        }
    });
}

async fn notified(wake: Option<&Arc<Notify>>) {
    match wake {
        Some(wake) => wake.notified().await,
        None => std::future::pending().await,
    }
}

/// Runs the loop that `start` makes, and starts a new one when it panics. A loop that returns is done.
pub fn supervise<F, Fut>(lifecycle: &Lifecycle, task: &'static str, start: F)
where
    F: Fn(Progress) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    supervise_within(lifecycle, task, STALLED_AFTER, start);
}

/// [`supervise`] for a loop that requests and other loops rely on until they have ended: it ends by
/// [`Lifecycle::drained`].
pub fn supervise_until_drained<F, Fut>(lifecycle: &Lifecycle, task: &'static str, start: F)
where
    F: Fn(Progress) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let progress = Progress::new(task, STALLED_AFTER);
    lifecycle.watch(progress.clone());
    lifecycle.spawn_until_drained(restart(progress, lifecycle.drained(), start));
}

fn supervise_within<F, Fut>(lifecycle: &Lifecycle, task: &'static str, stalled_after: Duration, start: F)
where
    F: Fn(Progress) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let progress = Progress::new(task, stalled_after);
    lifecycle.watch(progress.clone());
    lifecycle.spawn(restart(progress, lifecycle.stopping(), start));
}

async fn restart<F, Fut>(progress: Progress, stop: CancellationToken, start: F)
where
    F: Fn(Progress) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    while !stop.is_cancelled() {
        let running = async { start(progress.clone()).await };
        let Err(panic) = AssertUnwindSafe(running).catch_unwind().await else { break };
        let pause = progress.panicked(panic.as_ref());
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
    }
    progress.done();
}

/// Runs `work` in a task of its own and waits for it, so that it runs to its end even if the caller is dropped: axum drops
/// a handler when its client disconnects. The task keeps the present request's context. A panic of `work` continues in
/// the caller.
pub async fn run_to_completion<F>(work: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match trace::spawn(work).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that shuts down cancels the task, and it is about to drop this future too.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Runs `work` once, and reports a panic. The process waits for it before it ends.
pub fn spawn<Fut>(lifecycle: &Lifecycle, task: &'static str, work: Fut)
where
    Fut: Future<Output = ()> + Send + 'static,
{
    lifecycle.spawn(async move {
        if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
            count_panic(task);
            tracing::error!(task, panic = message(panic.as_ref()), "a background task panicked");
        }
    });
}
