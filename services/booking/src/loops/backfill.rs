//! Adds missing attendee keys to rows of replicas that run an older version, and tickets to bookings that were Confirmed
//! before there were any. Safe to run on every replica at once, and to stop at any time.

use std::time::Duration;

use platform::{
    Lifecycle,
    task::{Next, Schedule, repeat},
};

use crate::{domain::sales::attendee_key, state::AppState, store::Store};

const BATCH: i64 = 500;
const INTERVAL: Duration = Duration::from_secs(300);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let store = state.store.clone();
    repeat(lifecycle, "missing_tickets", Schedule::every(INTERVAL), move || {
        let store = store.clone();
        async move { store.issue_missing_tickets(BATCH).await.map(Next::immediately_if) }
    });
    let store = state.store.clone();
    repeat(lifecycle, "search_keys", Schedule::every(INTERVAL), move || {
        let store = store.clone();
        async move { Ok::<_, sqlx::Error>(Next::immediately_if(attendee_keys(&store, BATCH).await? > 0)) }
    });
}

/// Adds keys to up to `limit` rows; returns how many it added.
pub async fn attendee_keys(store: &Store, limit: i64) -> sqlx::Result<u64> {
    let rows = store.list_unindexed_attendees(limit).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let keys: Vec<String> = rows.iter().map(|row| attendee_key(&row.user_name, &row.user_email)).collect();
    store.store_attendee_keys(&rows, &keys).await
}
