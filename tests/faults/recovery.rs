//! How long users wait: usually, and after something broke.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::time::{Instant, sleep};

use crate::journal::{Answer, Journal, Sample};

/// Bookings are back within this time after a fault has cleared.
const LIMIT: Duration = Duration::from_secs(30);
/// Bookings of this much time are looked at together.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);
/// The fewest that tell something.
const FEWEST: usize = 3;
/// What is noise on a machine that others use too.
const FLOOR: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(50);

/// The 99th percentile of what was served, once all that was begun within that time has come to an end.
pub(crate) fn p99(samples: &[Sample]) -> Duration {
    let mut times: Vec<Duration> = samples.iter().filter_map(served).collect();
    times.sort_unstable();
    let rank = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(rank).copied().unwrap_or_default().max(FLOOR)
}

fn served(sample: &Sample) -> Option<Duration> {
    match sample.answer {
        Answer::Served(took) => Some(took),
        Answer::Awaited | Answer::Failed => None,
    }
}

/// The requests that were begun within that time, once each has come to an end: whoever looks earlier misses the
/// longest.
pub(crate) async fn ended(journal: &Journal, from: Instant, to: Instant) -> Vec<Sample> {
    loop {
        let samples = journal.samples(from, to);
        if samples.iter().all(|sample| sample.answer != Answer::Awaited) {
            return samples;
        }
        sleep(PAUSE).await;
    }
}

/// Waits until bookings are back: until a second whose requests are all served within twice the usual time. Says how
/// long that took from `cleared` on, and the 99th percentile of that second, which no fault has touched.
pub(crate) async fn wait(journal: &Journal, cleared: Instant, usual: Duration) -> Result<(Duration, Duration)> {
    let bound = usual * 2;
    ensure!(bound < LIMIT, "usual p99 {usual:?}: too long to tell whether bookings are back within {LIMIT:?}");
    let mut from = cleared;
    loop {
        sleep(PAUSE).await;
        let samples = journal.samples(from, from + WINDOW);
        let over = from + WINDOW < Instant::now();
        let all_served = samples.iter().all(|sample| served(sample).is_some());
        if over && samples.len() >= FEWEST && all_served && p99(&samples) <= bound {
            return Ok((from.duration_since(cleared), p99(&samples)));
        }
        let late = from + WINDOW + bound < Instant::now();
        let failed = samples.iter().any(|sample| sample.answer == Answer::Failed);
        if late || failed || over && all_served {
            from += WINDOW / 4;
        }
        if from.duration_since(cleared) > LIMIT {
            bail!("bookings are not back {LIMIT:?} after it cleared: usual p99 {usual:?}, the last second {samples:?}");
        }
    }
}
