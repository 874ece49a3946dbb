//! Chooses the fault to inject into a request or a webhook.

use crate::{
    domain::fault::{Action, FaultTarget},
    store::Store,
};

/// The action of the first rule that matches, which is used once. Costs one query while there are no rules.
pub async fn take_fault(store: &Store, mut target: FaultTarget, intent: Option<&str>) -> sqlx::Result<Option<Action>> {
    let mut rules = store.list_rules().await?;
    rules.retain(|stored| stored.remaining != Some(0));
    if rules.is_empty() {
        return Ok(None);
    }
    if let Some(intent) = intent {
        store.add_intent_to_target(intent, &mut target).await?;
    }
    for stored in rules.iter().filter(|stored| stored.rule.matches(&target)) {
        if stored.remaining.is_none() || store.use_rule(stored.id).await? {
            let action = stored.rule.action;
            tracing::info!(action = action.into_str(), operations = ?target.operations, "injecting a fault");
            metrics::counter!("eventplatform_mock_gateway_faults_total", "action" => action.into_str()).increment(1);
            return Ok(Some(action));
        }
    }
    Ok(None)
}
