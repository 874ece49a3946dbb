//! Trying again: the same call with growing pauses, until it succeeds, fails for good, or a deadline has come.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use tokio::time::Instant;

/// The pauses between attempts: each is twice the one before, up to a maximum.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    jitter: bool,
}

impl Backoff {
    /// Exactly these pauses.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, jitter: false }
    }

    /// Each pause is a random part of what it would be, so that callers that failed together do not return together.
    #[must_use]
    pub const fn with_jitter(self) -> Self {
        Self { jitter: true, ..self }
    }

    /// The pause after that many failures in a row, without jitter.
    pub fn after(self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.max)
    }

    /// The pauses in order, without an end.
    pub fn pauses(self) -> impl Iterator<Item = Duration> + Send + Sync + Unpin {
        let doubling =
            ExponentialBuilder::default().with_min_delay(self.first).with_max_delay(self.max).without_max_times();
        doubling.build().map(move |pause| if self.jitter { pause.mul_f64(rand::random::<f64>()) } else { pause })
    }
}

/// Makes `call` again as long as it fails with an error that `is_transient`, and the next attempt would begin before
/// `deadline`. Returns the outcome of the last attempt.
///
/// An attempt that has begun is not interrupted: `call` limits its own time.
pub async fn retry_until<T, E, F, Fut>(
    deadline: Instant,
    backoff: Backoff,
    is_transient: impl FnMut(&E) -> bool,
    call: F,
) -> Result<T, E>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let pauses = backoff.pauses().take_while(move |pause| Instant::now() + *pause < deadline);
    call.retry(pauses).when(is_transient).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

    /// The outcome of a call that fails `failures` times, and how many attempts it took.
    async fn attempts(failures: u32, limit: Duration, is_transient: bool) -> (Result<(), u32>, u32) {
        let mut made = 0;
        let call = || {
            made += 1;
            std::future::ready(if made > failures { Ok(()) } else { Err(made) })
        };
        let result = retry_until(Instant::now() + limit, BACKOFF, |_| is_transient, call).await;
        (result, made)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_made_again_until_it_succeeds() {
        let start = Instant::now();

        assert_eq!(attempts(3, Duration::from_secs(10), true).await, (Ok(()), 4));

        // tokio's timers round each pause up to the next millisecond.
        assert!((350..=353).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_error_is_returned_when_no_attempt_fits_before_the_deadline() {
        let start = Instant::now();

        assert_eq!(attempts(u32::MAX, Duration::from_millis(200), true).await, (Err(3), 3));

        assert!(start.elapsed() < Duration::from_millis(200));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_is_not_transient_is_returned_at_once() {
        assert_eq!(attempts(1, Duration::from_secs(10), false).await, (Err(1), 1));
    }

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let pauses: Vec<_> = BACKOFF.pauses().take(7).map(|pause| pause.as_millis()).collect();

        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pauses, [1, 2, 3, 4, 5, 6, u32::MAX].map(|failures| BACKOFF.after(failures).as_millis()));
    }

    #[test]
    fn jitter_only_shortens_pauses() {
        let pairs = BACKOFF.with_jitter().pauses().zip(BACKOFF.pauses());

        assert!(pairs.take(100).all(|(shortened, pause)| shortened <= pause));
    }
}
