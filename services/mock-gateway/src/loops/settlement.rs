//! Settles late payments. One transaction locks a due payment and settles it: only one replica does so, and after a
//! crash the payment is still due.

use std::time::Duration;

use platform::{
    Lifecycle,
    task::{Next, Schedule, repeat},
};

use crate::{flow::commands::settle_late, state::AppState, store::intents};

/// The longest time between two searches. Finds late payments of replicas that were killed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The pause while another replica settles what is due.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let (state, schedule) = (state.clone(), Schedule::every(HEARTBEAT).or_woken_by(state.settlement.clone()));
    repeat(lifecycle, "settlement", schedule, move || settle_due(state.clone()));
}

async fn settle_due(state: AppState) -> sqlx::Result<Next> {
    let due = state.store.next_settlement().await?.unwrap_or(HEARTBEAT);
    if !due.is_zero() {
        return Ok(Next::After(due.min(HEARTBEAT)));
    }
    let mut tx = state.store.begin().await?;
    let Some(intent) = intents::lock_due(&mut tx).await? else {
        tx.rollback().await?;
        return Ok(Next::After(BUSY_PAUSE));
    };
    let event = settle_late(&mut tx, intent, state.clock.now()).await?;
    tx.commit().await?;
    tracing::info!(payment_intent = event.payment_intent, "late payment settled");
    state.webhooks.send(vec![event]);
    Ok(Next::Immediately)
}
