//! Makes the search keys of events that have none, or older ones: those that an older version of this service wrote,
//! which may still run beside this one. Safe on every replica at once, and may stop anywhere.

use std::time::Duration;

use platform::{
    server::Lifecycle,
    task::{Next, Schedule, repeat},
};

use crate::store::Store;

/// Events of one round.
const ROUND: u32 = 100;
/// The pause between looks at whether an older replica has written.
const PAUSE: Duration = Duration::from_secs(30);

/// Starts to make search keys.
pub fn start(lifecycle: &Lifecycle, store: &Store) {
    let store = store.clone();
    repeat(lifecycle, "search_keys", Schedule::every(PAUSE), move || {
        let store = store.clone();
        async move {
            let made = store.refresh_search_keys(ROUND).await?;
            mongodb::error::Result::Ok(if made >= u64::from(ROUND) { Next::AtOnce } else { Next::Later })
        }
    });
}
