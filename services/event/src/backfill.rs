//! Adds missing or outdated search keys to events that an older version of this service wrote, which may still run
//! beside this one. Safe to run on every replica at once, and to stop anywhere.

use std::time::Duration;

use platform::{
    Lifecycle,
    task::{Next, Schedule, repeat},
};

use crate::store::Store;

/// Events per round.
const ROUND: u32 = 100;
/// The pause between checks for events of an older replica.
const PAUSE: Duration = Duration::from_secs(30);

/// Starts to add search keys.
pub fn start(lifecycle: &Lifecycle, store: &Store) {
    let store = store.clone();
    repeat(lifecycle, "search_keys", Schedule::every(PAUSE), move || {
        let store = store.clone();
        async move {
            let made = store.refresh_search_keys(ROUND).await?;
            mongodb::error::Result::Ok(Next::immediately_if(made >= u64::from(ROUND)))
        }
    });
}
