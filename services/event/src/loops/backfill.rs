//! Adds missing or outdated search keys to events that an older version of this service wrote, which may still run
//! beside this one. Safe to run on every replica at once, and to stop anywhere.

use std::time::Duration;

use platform::{
    Lifecycle,
    task::{Next, Schedule, repeat},
};

use crate::state::AppState;

/// Events per round.
const BATCH_SIZE: u32 = 100;
const INTERVAL: Duration = Duration::from_secs(60);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let store = state.store.clone();
    repeat(lifecycle, "search_keys", Schedule::every(INTERVAL), move || {
        let store = store.clone();
        async move {
            let refreshed = store.refresh_search_keys(BATCH_SIZE).await?;
            mongodb::error::Result::Ok(Next::immediately_if(refreshed >= u64::from(BATCH_SIZE)))
        }
    });
}
