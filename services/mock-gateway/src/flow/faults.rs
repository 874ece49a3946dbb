//! Chooses the fault to inject into a request or a webhook.

use crate::{
    domain::fault::{Action, FaultTarget},
    state::AppState,
};

/// The action of the first rule that matches, which is used once.
pub async fn take_fault(
    state: &AppState,
    mut target: FaultTarget,
    intent: Option<&str>,
) -> sqlx::Result<Option<Action>> {
    let rules = state.rules.get(&state.store).await?;
    if rules.iter().all(|stored| stored.remaining == Some(0)) {
        return Ok(None);
    }
    if let Some(intent) = intent {
        state.store.add_intent_to_target(intent, &mut target).await?;
    }
    for stored in rules.iter().filter(|stored| stored.remaining != Some(0) && stored.rule.matches(&target)) {
        if stored.remaining.is_none() || state.store.use_rule(stored.id).await? {
            let action = stored.rule.action;
            tracing::info!(action = action.into_str(), operations = ?target.operations, "injecting a fault");
            metrics::counter!("eventplatform_mock_gateway_faults_total", "action" => action.into_str()).increment(1);
            return Ok(Some(action));
        }
    }
    Ok(None)
}
