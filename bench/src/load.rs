//! Load in a closed loop, where each client waits for its answer, and in an open one, where requests come at a rate
//! whatever the answers do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{runtime::Handle, sync::Semaphore, task::JoinSet};

use crate::crowd::Operation;

/// Requests under way in an open loop: fewer than a service keeps connections. Those that wait for a place count with
/// their wait.
const MAX_OPEN: usize = 256;

/// What one run showed.
#[derive(Default)]
pub(crate) struct Run {
    /// Operations of which every step ended as it should.
    pub(crate) ok: usize,
    /// Operations of which one did not.
    pub(crate) errors: usize,
    seconds: f64,
    latencies_ms: Vec<f64>,
}

impl Run {
    /// Good operations per second.
    pub(crate) fn per_second(&self) -> f64 {
        count(self.ok) / self.seconds.max(f64::EPSILON)
    }

    /// The latency, in milliseconds, that `percent` of the good operations stayed under.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let index = self.latencies_ms.len() * percent / 100;
        self.latencies_ms.get(index).copied().unwrap_or(f64::NAN)
    }

    fn add(&mut self, latency: Duration, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                self.ok += 1;
                self.latencies_ms.push(latency.as_secs_f64() * 1000.0);
            }
            Err(error) => {
                if self.errors == 0 {
                    eprintln!("    first error: {error:#}");
                }
                self.errors += 1;
            }
        }
    }

    fn finish(mut self, started: Instant) -> Self {
        self.seconds = started.elapsed().as_secs_f64();
        self.latencies_ms.sort_by(f64::total_cmp);
        self
    }
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark stay far under 2^52")]
pub(crate) fn count(n: usize) -> f64 {
    n as f64
}

/// Each client begins its next operation when the last one ended, for so long.
pub(crate) async fn closed_loop(clients: u32, length: Duration, operation: &Operation) -> Run {
    let (next, started) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut loops = JoinSet::new();
    for _ in 0..clients {
        let (next, operation) = (next.clone(), operation.clone());
        loops.spawn(async move {
            let mut outcomes = Vec::new();
            while started.elapsed() < length {
                let sent = Instant::now();
                let outcome = operation.run(next.fetch_add(1, Ordering::Relaxed)).await;
                outcomes.push((sent.elapsed(), outcome));
            }
            outcomes
        });
    }
    collect(loops.join_all().await.into_iter().flatten(), started)
}

/// Operations begin at that rate for so long. Latencies count from when each was due, so that waiting for its turn
/// counts too.
pub(crate) async fn open_loop(per_second: f64, length: Duration, operation: &Operation) -> Result<Run> {
    let (started, operation) = (Instant::now(), operation.clone());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let number = (per_second * length.as_secs_f64()).ceil() as usize;
    let (runtime, places) = (Handle::current(), Arc::new(Semaphore::new(MAX_OPEN)));
    // A thread of its own: the timers of the runtime go by whole milliseconds.
    let begin_all = move || {
        let mut operations = JoinSet::new();
        for n in 0..number {
            let due = started + Duration::from_secs_f64(count(n) / per_second);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (operation, places) = (operation.clone(), places.clone());
            let begin = async move {
                let _place = places.acquire().await;
                let outcome = operation.run(n).await;
                (due.elapsed(), outcome)
            };
            operations.spawn_on(begin, &runtime);
        }
        operations
    };
    let operations = tokio::task::spawn_blocking(begin_all).await?;
    Ok(collect(operations.join_all().await, started))
}

fn collect(outcomes: impl IntoIterator<Item = (Duration, Result<()>)>, started: Instant) -> Run {
    let mut run = Run::default();
    for (latency, outcome) in outcomes {
        run.add(latency, outcome);
    }
    run.finish(started)
}
