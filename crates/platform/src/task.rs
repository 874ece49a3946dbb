//! Background tasks: a loop that panics is restarted, and metrics and `/readyz` show it.
//!
//! - [`repeat`] runs one round after the other: sweepers, relays, gauges. Most loops are this.
//! - [`supervise`] runs a loop with a structure of its own, such as a consumer; it reports its progress by
//!   [`Progress`].
//! - [`spawn`] runs once something that nobody waits for, such as an event stream.
//!
//! A panic never ends a loop: replicas meet the same data, so the loop would end on one after the other. Metrics:
//! `eventplatform_task_panics_total`, `eventplatform_task_failures_total` and
//! `eventplatform_task_last_success_timestamp_seconds`, each with the label `task`. `/readyz` names the loops that
//! make no progress, and stays 200: requests do not need them, and other replicas meet the same data.

use std::{
    any::Any,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{Clock, server::Lifecycle};

/// The first pause after a failure or a panic; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause after a failure. Mostly a server was away, and recovery should start soon after.
const MAX_FAILURE_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause after a panic.
const MAX_PANIC_PAUSE: Duration = Duration::from_secs(60);
/// A loop that does not succeed for this long, plus the pause between its rounds, counts as failing.
const STALLED_AFTER: Duration = Duration::from_secs(300);
/// A loop with this many failures in a row counts as failing.
const FAILURES_SHOWN: u32 = 5;

/// The result of a round of [`repeat`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// There is more to do: the next round follows at once.
    AtOnce,
    /// The next round follows after the pause.
    Later,
}

impl Next {
    /// At once if there is `more` to do.
    pub fn at_once_if(more: bool) -> Self {
        if more { Self::AtOnce } else { Self::Later }
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
                        if next.into() == Next::AtOnce {
                            tokio::task::yield_now().await;
                            continue;
                        }
                        schedule.pause.mul_f64(1.0 + rand::random::<f64>() / 4.0)
                    }
                    Err(error) => {
                        failures += 1;
                        progress.failed(&error.into());
                        backoff(failures, MAX_FAILURE_PAUSE)
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

/// Reports whether a loop makes progress. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    task: &'static str,
    stalled_after: Duration,
    state: Arc<Mutex<State>>,
}

struct State {
    succeeded_at: Instant,
    failures: u32,
    panics: u32,
    last_failure: String,
    done: bool,
}

impl Progress {
    fn new(task: &'static str, stalled_after: Duration) -> Self {
        let state =
            State { succeeded_at: Instant::now(), failures: 0, panics: 0, last_failure: String::new(), done: false };
        let progress = Self { task, stalled_after, state: Arc::new(Mutex::new(state)) };
        // Set at the start, so that a loop that never succeeds is noticed too, and so is the first panic.
        progress.write_down(now());
        metrics::counter!("eventplatform_task_panics_total", "task" => task).increment(0);
        progress
    }

    /// The loop did its work, or found nothing to do.
    pub fn succeeded(&self) {
        let mut state = self.lock();
        (state.succeeded_at, state.failures, state.panics) = (Instant::now(), 0, 0);
        drop(state);
        self.write_down(now());
    }

    /// The loop could not do its work, and will try again.
    pub fn failed(&self, error: &anyhow::Error) {
        let error = format!("{error:#}");
        tracing::warn!(task = self.task, error, "a background loop failed; trying again");
        metrics::counter!("eventplatform_task_failures_total", "task" => self.task).increment(1);
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        state.last_failure = error;
    }

    /// Returns the pause until the loop is restarted.
    fn panicked(&self, panic: &(dyn Any + Send)) -> Duration {
        let message = message(panic);
        count_panic(self.task);
        let mut state = self.lock();
        state.panics = state.panics.saturating_add(1);
        let pause = backoff(state.panics, MAX_PANIC_PAUSE);
        tracing::error!(task = self.task, panic = message, ?pause, "a background loop panicked; starting it again");
        message.clone_into(&mut state.last_failure);
        pause
    }

    fn done(&self) {
        self.lock().done = true;
        // NaN, which no alert rule's comparison matches.
        self.write_down(f64::NAN);
    }

    /// Why the loop makes no progress; `None` if it does.
    pub(crate) fn trouble(&self) -> Option<String> {
        let state = self.lock();
        let (task, stalled) = (self.task, state.succeeded_at.elapsed());
        if state.done {
            None
        } else if state.panics > 0 {
            Some(format!("{task}: panicked {} times in a row: {}", state.panics, state.last_failure))
        } else if state.failures >= FAILURES_SHOWN {
            Some(format!("{task}: failed {} times in a row: {}", state.failures, state.last_failure))
        } else if stalled > self.stalled_after {
            Some(format!("{task}: no success for {} s", stalled.as_secs()))
        } else {
            None
        }
    }

    fn write_down(&self, timestamp: f64) {
        metrics::gauge!("eventplatform_task_last_success_timestamp_seconds", "task" => self.task).set(timestamp);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.task).finish()
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds far below 2^52")]
fn now() -> f64 {
    Clock::system().now().timestamp() as f64
}

fn count_panic(task: &'static str) {
    metrics::counter!("eventplatform_task_panics_total", "task" => task).increment(1);
}

/// The message of a panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The pause after that many failures in a row: it doubles each time, up to `longest`; its second half is random.
fn backoff(in_a_row: u32, longest: Duration) -> Duration {
    let doublings = in_a_row.saturating_sub(1).min(16);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(longest);
    pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}
