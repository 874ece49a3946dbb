//! How long users wait: usually, and after something broke.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use crate::journal::{Journal, Sample};

/// Bookings are back within this time after a fault has cleared.
const LIMIT: Duration = Duration::from_secs(30);
/// Bookings of this much time are looked at together.
const WINDOW: Duration = Duration::from_secs(1);
/// The fewest that tell something.
const FEWEST: usize = 3;
/// What is noise on a machine that others use too.
const FLOOR: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(50);

/// The 99th percentile of what took how long; a request that was not served took for ever.
fn p99(samples: &[Sample]) -> Option<Duration> {
    let mut times: Vec<Duration> = samples.iter().map(|sample| sample.took.unwrap_or(Duration::MAX)).collect();
    times.sort_unstable();
    times.get((times.len() * 99).div_ceil(100).checked_sub(1)?).copied()
}

/// The 99th percentile of what was served.
pub(crate) fn usual(mut samples: Vec<Sample>) -> Duration {
    samples.retain(|sample| sample.took.is_some());
    p99(&samples).unwrap_or_default().max(FLOOR)
}

/// Waits until bookings are back, and says how long that took from `cleared` on: until the first second whose requests
/// are served within twice the usual time.
pub(crate) async fn wait(journal: &Journal, cleared: Instant, usual: Duration) -> Result<Duration> {
    let bound = usual * 2;
    let mut from = cleared;
    loop {
        sleep(PAUSE).await;
        let samples = journal.samples(from, from + WINDOW);
        let over = from + WINDOW < Instant::now();
        let served = samples.iter().all(|sample| sample.took.is_some());
        if over && samples.len() >= FEWEST && served && p99(&samples).is_some_and(|p99| p99 <= bound) {
            return Ok(from.duration_since(cleared));
        }
        let late = from + WINDOW + bound < Instant::now();
        if late || samples.iter().any(|sample| sample.took.is_some_and(|took| took > bound)) {
            from += WINDOW / 4;
        }
        if from.duration_since(cleared) > LIMIT {
            let now = p99(&samples);
            bail!(
                "bookings are not back {LIMIT:?} after it cleared: usual p99 {usual:?}, {} now {now:?}",
                samples.len()
            );
        }
    }
}
