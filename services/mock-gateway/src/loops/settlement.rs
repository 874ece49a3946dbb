//! Settles late payments. One transaction locks a due payment and settles it: only one replica does so, and after a
//! crash the payment is still due.

use std::time::Duration;

use platform::{
    Lifecycle,
    task::{Schedule, repeat},
};

use crate::{flow::commands::settle, state::AppState, store::intents};

const POLL_INTERVAL: Duration = Duration::from_millis(250);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let state = state.clone();
    repeat(lifecycle, "settlement", Schedule::every(POLL_INTERVAL), move || settle_due(state.clone()));
}

async fn settle_due(state: AppState) -> sqlx::Result<()> {
    while !state.stopping.is_cancelled() && state.store.any_intent_due().await? {
        let mut tx = state.store.begin().await?;
        let Some(intent) = intents::lock_due(&mut tx).await? else { return tx.rollback().await };
        settle(&mut tx, &intent).await?;
        tx.commit().await?;
        tracing::info!(payment_intent = intent.id, "late payment settled");
        state.webhooks_wake.notify_one();
    }
    Ok(())
}
