//! Waiting for a condition, with a deadline and an error that says what never came about.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep};

const PAUSE: Duration = Duration::from_millis(20);

/// Calls `attempt` until it succeeds; after `limit`, fails with its last error.
pub async fn until<T>(what: impl Display, limit: Duration, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                let seconds = limit.as_secs_f32();
                return Err(error.context(anyhow!("{what}: not within {seconds} s")));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
