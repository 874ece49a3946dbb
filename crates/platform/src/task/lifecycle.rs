//! The phases of a process: running, terminating (unready, still accepting), stopping (draining), drained.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Progress;

/// The longest time for the loops that end last.
const LAST_TASKS_TIMEOUT: Duration = Duration::from_secs(5);

/// Shared by everything that has to end in order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    terminating: CancellationToken,
    stopping: CancellationToken,
    drained: CancellationToken,
    tasks: TaskTracker,
    last_tasks: TaskTracker,
    loops: Arc<Mutex<Vec<Progress>>>,
}

impl Lifecycle {
    /// A process that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process stops accepting: background loops and streams end then.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Whether SIGTERM has come.
    pub fn is_terminating(&self) -> bool {
        self.terminating.is_cancelled()
    }

    /// Starts a task that the process waits for at its end. It ends by [`Lifecycle::stopping`]. This does not report
    /// its panics, hence the functions of [`super`].
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }

    /// Registers a loop for [`Lifecycle::failing_loops`].
    pub(super) fn watch(&self, progress: Progress) {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner).push(progress);
    }

    /// The background loops that make no progress, each with the reason.
    pub fn failing_loops(&self) -> Vec<String> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Progress::failure).collect()
    }

    /// Cancelled when requests and background loops have ended, or the time for that is over.
    pub fn drained(&self) -> CancellationToken {
        self.drained.clone()
    }

    /// Starts a loop that requests and other loops rely on until they have ended. It ends by [`Lifecycle::drained`].
    pub fn spawn_until_drained<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.last_tasks.spawn(task);
    }

    /// Ends everything now, without waiting for a signal; for tests.
    pub fn stop(&self) {
        self.terminating.cancel();
        self.stopping.cancel();
    }

    /// Waits for SIGTERM, SIGINT or [`Lifecycle::stop`], and goes through the phases.
    pub(crate) async fn run_until_signal(&self, delay: Duration) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = self.stopping.cancelled() => {}
        }
        self.terminating.cancel();
        tracing::info!(delay_seconds = delay.as_secs(), "stopping: unready now, accepting a little longer");
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            // A second SIGINT skips the delay.
            _ = interrupt.recv() => {}
            () = self.stopping.cancelled() => {}
        }
        self.stopping.cancel();
        Ok(())
    }

    /// Waits for background tasks, which end by [`Lifecycle::stopping`], and then for those that end by
    /// [`Lifecycle::drained`]. False if some were still under way.
    pub async fn finish_tasks(&self, at_most: Duration) -> bool {
        self.tasks.close();
        let finished = tokio::time::timeout(at_most, self.tasks.wait()).await.is_ok();
        self.drained.cancel();
        self.last_tasks.close();
        let finished = tokio::time::timeout(LAST_TASKS_TIMEOUT, self.last_tasks.wait()).await.is_ok() && finished;
        if !finished {
            tracing::warn!("background work was still under way at the end of the drain time");
        }
        finished
    }
}
