//! Payments that settle later. A due one is locked, ended and committed in one transaction, so that of several replicas
//! one does it, and a crash leaves it due.

use std::time::Duration;

use platform::{
    Lifecycle,
    task::{Schedule, repeat},
};

use crate::{processor, state::AppState, store::intents};

/// How often due payments are looked for.
const POLL: Duration = Duration::from_millis(250);
/// How often old idempotency keys are forgotten.
const PURGE: Duration = Duration::from_secs(600);

/// Starts to settle payments, and to delete old idempotency keys.
pub(crate) fn start(lifecycle: &Lifecycle, state: &AppState) {
    let s = state.clone();
    repeat(lifecycle, "settlement", Schedule::every(POLL), move || settle_due(s.clone()));
    let s = state.clone();
    repeat(lifecycle, "purge", Schedule::every(PURGE), move || {
        let s = s.clone();
        async move { s.store.purge_idempotency_keys().await.map(drop) }
    });
}

async fn settle_due(state: AppState) -> sqlx::Result<()> {
    while !state.stopping.is_cancelled() && state.store.any_intent_due().await? {
        let mut tx = state.store.begin().await?;
        let Some(intent) = intents::lock_due(&mut tx).await? else { return tx.rollback().await };
        processor::settle(&mut tx, &intent).await?;
        tx.commit().await?;
        tracing::info!(payment_intent = intent.id, "late payment settled");
        state.events_waiting.notify_one();
    }
    Ok(())
}
