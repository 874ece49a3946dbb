//! Delivers events to the receiver of webhooks, at least once. A replica claims due events under a lease and repeats
//! each one until the receiver accepts it.

use std::time::Duration;

use platform::{
    Lifecycle,
    retry::Backoff,
    task::{Progress, supervise},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    domain::{
        fault::{Action, FaultTarget, Operation},
        objects,
    },
    flow::faults::take_fault,
    state::AppState,
    store::{events::DueEvent, new_id},
};

/// Longer than one delivery may take.
const LEASE: Duration = Duration::from_secs(15);
/// Finds events that other replicas wrote and retries that are due.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The pause while the database does not answer.
const DATABASE_BACKOFF: Duration = Duration::from_secs(1);
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);
const MAX_CONCURRENT: usize = 16;
/// The pauses after failed deliveries.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
/// Stripe retries for three days too.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);
/// How long a reordered event waits for a later event of its payment intent.
const REORDER_TIMEOUT: Duration = Duration::from_secs(3);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let state = state.clone();
    supervise(lifecycle, "webhooks", move |progress| deliver(state.clone(), progress));
}

/// Delivers events until the process stops, and then lets running deliveries finish.
async fn deliver(state: AppState, progress: Progress) {
    let mut deliveries = JoinSet::new();
    let mut measurements = tokio::time::interval(MEASURE_INTERVAL);
    while !state.stopping.is_cancelled() {
        let pause = match claim(&state, MAX_CONCURRENT - deliveries.len()).await {
            Ok(events) => {
                progress.succeeded();
                for event in events {
                    deliveries.spawn(deliver_one(state.clone(), event));
                }
                POLL_INTERVAL
            }
            Err(error) => {
                progress.failed(&error.into());
                DATABASE_BACKOFF
            }
        };
        tokio::select! {
            () = state.stopping.cancelled() => {}
            () = state.webhooks_wake.notified() => {}
            Some(delivered) = deliveries.join_next() => {
                if let Err(panicked) = delivered {
                    // The event is retried when its lease expires.
                    progress.failed(&panicked.into());
                }
            }
            _ = measurements.tick() => measure(&state).await,
            () = tokio::time::sleep(pause) => {}
        }
    }
    while deliveries.join_next().await.is_some() {}
}

async fn claim(state: &AppState, limit: usize) -> sqlx::Result<Vec<DueEvent>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    state.store.claim_events(i64::try_from(limit).unwrap_or(1), LEASE, GIVE_UP_AFTER).await
}

/// Updates the gauges of pending events. While the database does not answer, they keep their values.
async fn measure(state: &AppState) {
    if let Ok((pending, oldest_seconds)) = state.store.count_pending_events().await {
        metrics::gauge!("eventplatform_mock_gateway_webhooks_pending").set(pending);
        metrics::gauge!("eventplatform_mock_gateway_webhooks_oldest_seconds").set(oldest_seconds);
    }
}

async fn deliver_one(state: AppState, event: DueEvent) {
    if let Err(error) = attempt(&state, &event).await {
        tracing::warn!(event = event.id, %error, "webhook will be retried when its lease expires");
    }
}

/// Injects at most one fault per event, and makes one attempt to deliver it.
async fn attempt(state: &AppState, event: &DueEvent) -> sqlx::Result<()> {
    let action = if event.fault.is_none() { take_fault(&state.store, fault_target(event), None).await? } else { None };
    if let Some(action) = action {
        state.store.mark_event_fault(&event.id, action.into_str()).await?;
    }
    match action {
        Some(Action::DropWebhook) => return state.store.drop_event(&event.id).await,
        Some(Action::ReorderWebhooks) => return state.store.hold_back_event(&event.id, REORDER_TIMEOUT).await,
        Some(Action::DelayMs(ms)) => {
            return state.store.postpone_event(&event.id, Duration::from_millis(ms.into())).await;
        }
        Some(Action::ForgeSignature) => send_forgery(state, event).await,
        _ => {}
    }
    let outcome = state.receiver.send(&event.body).await;
    let label = if outcome.is_ok() { "delivered" } else { "refused" };
    metrics::counter!("eventplatform_mock_gateway_webhooks_total", "outcome" => label).increment(1);
    if let Err(error) = outcome {
        tracing::info!(event = event.id, attempts = event.attempts, error = format!("{error:#}"), "webhook refused");
        return state.store.postpone_event(&event.id, BACKOFF.after(event.attempts.unsigned_abs())).await;
    }
    if action == Some(Action::DuplicateWebhook)
        && let Err(error) = state.receiver.send(&event.body).await
    {
        tracing::info!(event = event.id, error = format!("{error:#}"), "duplicate webhook refused");
    }
    tracing::debug!(event = event.id, kind = event.kind, "webhook delivered");
    state.store.finish_event(event).await
}

fn fault_target(event: &DueEvent) -> FaultTarget {
    FaultTarget {
        operations: vec![Operation::Webhook],
        payment_method: None,
        booking_id: event.booking_id.clone(),
        event_type: Some(event.kind.clone()),
    }
}

/// Sends a forged event, signed with a random secret.
async fn send_forgery(state: &AppState, event: &DueEvent) {
    let Ok(genuine) = serde_json::from_str::<Value>(&event.body) else { return };
    let forged = objects::forge(&genuine, &new_id("evt")).to_string();
    match state.receiver.send_signed_with(&new_id("whsec"), &forged).await {
        Ok(()) => {
            metrics::counter!("eventplatform_mock_gateway_forgeries_accepted_total").increment(1);
            tracing::error!(event = event.id, "the receiver accepted a forged webhook");
        }
        Err(error) => tracing::info!(event = event.id, error = format!("{error:#}"), "forged webhook refused"),
    }
}
