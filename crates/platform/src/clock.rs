//! The only place that reads the time, so that tests can set it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};

/// The time, either the machine's or one that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed_micros: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still at `now` until [`Clock::advance`] moves it.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self { fixed_micros: Some(Arc::new(AtomicI64::new(now.timestamp_micros()))) }
    }

    /// The present instant, to the microsecond (what PostgreSQL keeps).
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &self.fixed_micros {
            Some(micros) => micros.load(Ordering::SeqCst),
            None => machine_time().timestamp_micros(),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// Moves a fixed clock; the machine's clock stays as it is.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(micros) = &self.fixed_micros {
            micros.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn machine_time() -> DateTime<Utc> {
    let now = Utc::now();
    #[cfg(all(feature = "failpoints", debug_assertions))]
    let now = now + crate::failpoint::clock_offset();
    now
}
