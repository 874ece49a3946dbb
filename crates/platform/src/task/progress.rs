//! The progress of one background loop, as metrics and `/readyz` show it.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Clock, retry::Backoff};

/// The first pause after a failure or a panic.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The pauses after panics.
const PANIC_BACKOFF: Backoff = Backoff::new(FIRST_PAUSE, Duration::from_secs(60));
/// A loop with this many consecutive failures counts as failing.
const FAILURE_THRESHOLD: u32 = 5;

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
    pub(super) fn new(task: &'static str, stalled_after: Duration) -> Self {
        let state =
            State { succeeded_at: Instant::now(), failures: 0, panics: 0, last_failure: String::new(), done: false };
        let progress = Self { task, stalled_after, state: Arc::new(Mutex::new(state)) };
        // Set at the start, so that a loop that never succeeds is noticed too, and so is the first panic.
        progress.record_success_time(now());
        metrics::counter!("eventplatform_task_panics_total", "task" => task).increment(0);
        progress
    }

    /// The loop did its work, or found nothing to do.
    pub fn succeeded(&self) {
        let mut state = self.lock();
        (state.succeeded_at, state.failures, state.panics) = (Instant::now(), 0, 0);
        drop(state);
        self.record_success_time(now());
    }

    /// The loop could not do its work, and will try again.
    pub fn failed(&self, error: &anyhow::Error) {
        let error = format!("{error:#}");
        tracing::warn!(task = self.task, error, "a background loop failed; retrying");
        metrics::counter!("eventplatform_task_failures_total", "task" => self.task).increment(1);
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        state.last_failure = error;
    }

    /// Returns the pause until the loop is restarted.
    pub(super) fn panicked(&self, panic: &(dyn Any + Send)) -> Duration {
        let message = message(panic);
        count_panic(self.task);
        let mut state = self.lock();
        state.panics = state.panics.saturating_add(1);
        let pause = jittered(PANIC_BACKOFF.after(state.panics));
        tracing::error!(task = self.task, panic = message, ?pause, "a background loop panicked; restarting it");
        message.clone_into(&mut state.last_failure);
        pause
    }

    pub(super) fn done(&self) {
        self.lock().done = true;
        // NaN, which no alert rule's comparison matches.
        self.record_success_time(f64::NAN);
    }

    /// Why the loop makes no progress; `None` if it does.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.lock();
        let (task, stalled) = (self.task, state.succeeded_at.elapsed());
        if state.done {
            None
        } else if state.panics > 0 {
            Some(format!("{task}: panicked {} times in a row: {}", state.panics, state.last_failure))
        } else if state.failures >= FAILURE_THRESHOLD {
            Some(format!("{task}: failed {} times in a row: {}", state.failures, state.last_failure))
        } else if stalled > self.stalled_after {
            Some(format!("{task}: no success for {} s", stalled.as_secs()))
        } else {
            None
        }
    }

    fn record_success_time(&self, timestamp: f64) {
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

pub(super) fn count_panic(task: &'static str) {
    metrics::counter!("eventplatform_task_panics_total", "task" => task).increment(1);
}

/// The message of a panic.
pub(super) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// A pause whose second half is random.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}
