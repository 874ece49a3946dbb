//! Adds missing search keys of attendees to rows that an older version of this service wrote, which may still run
//! beside this one. Safe to run on every replica at once, and to stop anywhere.

use std::time::Duration;

use platform::{
    Lifecycle,
    task::{Next, Schedule, repeat},
};

use crate::{domain::sales::attendee_key, store::Store};

/// Rows per round.
const ROUND: i64 = 500;
/// The pause between checks for rows of an older replica.
const PAUSE: Duration = Duration::from_secs(30);

/// Starts to add search keys.
pub fn start(lifecycle: &Lifecycle, store: &Store) {
    let store = store.clone();
    repeat(lifecycle, "search_keys", Schedule::every(PAUSE), move || {
        let store = store.clone();
        async move {
            let made = attendee_keys(&store, ROUND).await?;
            Ok::<_, sqlx::Error>(Next::immediately_if(made > 0))
        }
    });
}

/// One round; returns how many keys it added.
pub async fn attendee_keys(store: &Store, limit: i64) -> sqlx::Result<u64> {
    let rows = store.list_without_attendee_key(limit).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let keys: Vec<String> = rows.iter().map(|row| attendee_key(&row.user_name, &row.user_email)).collect();
    store.store_attendee_keys(&rows, &keys).await
}
