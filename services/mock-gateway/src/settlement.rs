//! Payments that settle later. A due one is locked, ended and committed in one transaction, so that of several replicas
//! one does it, and a crash leaves it due.

use std::time::Duration;

use crate::{processor, state::AppState, store::intents};

/// How often due payments are looked for.
const POLL: Duration = Duration::from_millis(250);
/// The pause while the database is away.
const BACKOFF: Duration = Duration::from_secs(1);
/// How often old idempotency keys are forgotten.
const PURGE: Duration = Duration::from_secs(3600);

/// Settles until the program stops; forgets old idempotency keys on the way.
pub(crate) async fn settle(state: AppState) {
    let mut purge = tokio::time::interval(PURGE);
    loop {
        let pause = match settle_due(&state).await {
            Ok(()) => POLL,
            Err(error) => {
                tracing::warn!(%error, "late payments not settled; trying again");
                BACKOFF
            }
        };
        tokio::select! {
            () = state.stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            _ = purge.tick() => {
                if let Err(error) = state.store.purge_idempotency_keys().await {
                    tracing::warn!(%error, "old idempotency keys not forgotten");
                }
            }
        }
    }
}

async fn settle_due(state: &AppState) -> sqlx::Result<()> {
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
