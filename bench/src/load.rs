//! Closed-loop load: a fixed number of clients, each sending its next request when the last one is answered.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;

/// What one run showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Requests that ended as they should.
    pub(crate) ok: u64,
    /// Requests that did not.
    pub(crate) errors: u64,
    /// Wall time of the run.
    pub(crate) seconds: f64,
    latencies_ms: Vec<f64>,
}

impl Run {
    /// Good answers per second.
    pub(crate) fn per_second(&self) -> f64 {
        count(self.ok) / self.seconds.max(f64::EPSILON)
    }

    /// The latency, in milliseconds, that `percent` of the good answers stayed under.
    pub(crate) fn percentile_ms(&self, percent: f64) -> f64 {
        let last = self.latencies_ms.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index between 0 and last")]
        let index = (count(last as u64) * percent / 100.0).round() as usize;
        self.latencies_ms.get(index).copied().unwrap_or_default()
    }

    /// This run and another one, as if they were one.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.latencies_ms.extend(other.latencies_ms);
        self.latencies_ms.sort_by(f64::total_cmp);
        Self {
            ok: self.ok + other.ok,
            errors: self.errors + other.errors,
            seconds: self.seconds + other.seconds,
            ..self
        }
    }
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark stay far under 2^52")]
pub(crate) fn count(n: u64) -> f64 {
    n as f64
}

/// Runs `request(client, n)` in `clients` loops for `duration`. `n` counts over all clients.
pub(crate) async fn closed_loop<F, Fut>(clients: usize, duration: Duration, request: F) -> Run
where
    F: Fn(usize, u64) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let counter = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let loops = (0..clients).map(|client| {
        let (counter, request) = (Arc::clone(&counter), &request);
        async move {
            let (mut latencies, mut errors) = (Vec::new(), Vec::new());
            while started.elapsed() < duration {
                let sent = Instant::now();
                match request(client, counter.fetch_add(1, Ordering::Relaxed)).await {
                    Ok(()) => latencies.push(sent.elapsed().as_secs_f64() * 1000.0),
                    Err(error) => errors.push(error),
                }
            }
            (latencies, errors)
        }
    });
    let mut run = Run::default();
    for (latencies, errors) in join_all(loops).await {
        run.ok += latencies.len() as u64;
        run.errors += errors.len() as u64;
        run.latencies_ms.extend(latencies);
        if let Some(error) = errors.first() {
            eprintln!("    first error of a client: {error:#}");
        }
    }
    run.seconds = started.elapsed().as_secs_f64();
    run.latencies_ms.sort_by(f64::total_cmp);
    run
}
