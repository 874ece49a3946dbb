//! Deletes rows that are no longer needed, and frees the memory of idle password hashers.

use std::{future::ready, time::Duration};

use platform::{
    Lifecycle,
    task::{Schedule, repeat},
};

use crate::state::AppState;

const ROWS_INTERVAL: Duration = Duration::from_secs(600);
const MEMORY_INTERVAL: Duration = Duration::from_secs(15);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let hasher = state.hasher.clone();
    repeat(lifecycle, "idle_memory", Schedule::every(MEMORY_INTERVAL), move || {
        hasher.free_idle_memory();
        ready(anyhow::Ok(()))
    });
    let state = state.clone();
    repeat(lifecycle, "purge", Schedule::every(ROWS_INTERVAL), move || purge(state.clone()));
}

async fn purge(state: AppState) -> sqlx::Result<()> {
    let rows = state.store.purge(state.policy.refresh_token_days).await?
        + state.idempotency.purge().await?
        + state.store.outbox().purge().await?;
    tracing::debug!(rows, "old rows deleted");
    Ok(())
}
