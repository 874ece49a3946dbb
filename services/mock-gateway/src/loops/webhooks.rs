//! Delivers events to the receiver of webhooks, at least once. A replica delivers what it committed itself without a
//! claim. It claims what is due: retries, and what other replicas left when its lease has expired.

use std::time::Duration;

use platform::{
    Lifecycle,
    retry::Backoff,
    task::{Progress, supervise_until_drained},
};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        fault::{Action, FaultTarget, Operation},
        objects,
    },
    flow::faults::take_fault,
    state::AppState,
    store::{
        events::{DueEvent, LEASE},
        new_id,
    },
};

/// The longest time between two searches for events that are due.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The shortest time between two searches without success.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// How long delivered events wait to be marked together.
const MARK_INTERVAL: Duration = Duration::from_millis(250);
/// The pause while the database does not answer.
const DATABASE_BACKOFF: Duration = Duration::from_secs(1);
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);
const MAX_CONCURRENT: usize = 16;
/// The pauses after failed deliveries.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
/// Stripe retries for three days too.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);
/// How long a reordered event waits for a later event of its payment intent.
const REORDER_TIMEOUT: Duration = Duration::from_secs(3);

/// What is left to do for an event.
enum Next {
    /// It is to be marked as finished.
    Finish(String),
    /// It is due again after this time.
    Retry(Duration),
}

/// The loop goes on while requests drain, for the events of these.
pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let (state, drained) = (state.clone(), lifecycle.drained());
    supervise_until_drained(lifecycle, "webhooks", move |progress| deliver(state.clone(), drained.clone(), progress));
}

/// Delivers events until the process has drained, and then lets running deliveries finish.
async fn deliver(state: AppState, drained: CancellationToken, progress: Progress) {
    let mut deliveries = JoinSet::new();
    let mut finished = Vec::new();
    let (mut mark_at, mut claim_at) = (Instant::now(), Instant::now());
    let mut measurements = interval(MEASURE_INTERVAL);
    while !drained.is_cancelled() {
        let free = MAX_CONCURRENT - deliveries.len();
        tokio::select! {
            () = drained.cancelled() => {}
            event = state.webhooks.receive(), if free > 0 => {
                deliveries.spawn(deliver_one(state.clone(), event));
            }
            Some(delivered) = deliveries.join_next() => match delivered {
                Ok(Next::Finish(id)) => {
                    if finished.is_empty() {
                        mark_at = Instant::now() + MARK_INTERVAL;
                    }
                    finished.push(id);
                }
                Ok(Next::Retry(pause)) => claim_at = claim_at.min(Instant::now() + pause),
                // The event is retried when its lease expires.
                Err(panicked) => progress.failed(&panicked.into()),
            },
            () = sleep_until(mark_at), if !finished.is_empty() => match state.store.finish_events(&finished).await {
                Ok(released) => {
                    finished.clear();
                    if released > 0 {
                        claim_at = Instant::now();
                    }
                }
                Err(error) => {
                    progress.failed(&error.into());
                    mark_at = Instant::now() + DATABASE_BACKOFF;
                }
            },
            () = sleep_until(claim_at), if free > 0 => match claim(&state, free).await {
                Ok((events, pause)) => {
                    progress.succeeded();
                    claim_at = Instant::now() + pause;
                    for event in events {
                        deliveries.spawn(deliver_one(state.clone(), event));
                    }
                }
                Err(error) => {
                    progress.failed(&error.into());
                    claim_at = Instant::now() + DATABASE_BACKOFF;
                }
            },
            _ = measurements.tick() => measure(&state).await,
        }
    }
    while let Some(delivered) = deliveries.join_next().await {
        if let Ok(Next::Finish(id)) = delivered {
            finished.push(id);
        }
    }
    if let Err(error) = state.store.finish_events(&finished).await {
        tracing::warn!(%error, "delivered webhooks are not marked, and will be delivered again");
    }
}

/// Claims due events; returns them with the pause until the next claim.
async fn claim(state: &AppState, limit: usize) -> sqlx::Result<(Vec<DueEvent>, Duration)> {
    let events = state.store.claim_events(i64::try_from(limit).unwrap_or(1), GIVE_UP_AFTER).await?;
    if !events.is_empty() {
        return Ok((events, Duration::ZERO));
    }
    let due = state.store.next_event_due(GIVE_UP_AFTER).await?.unwrap_or(HEARTBEAT);
    Ok((events, due.clamp(MIN_PAUSE, HEARTBEAT)))
}

/// Updates the gauges of pending events. While the database does not answer, they keep their values.
async fn measure(state: &AppState) {
    if let Ok((pending, oldest_seconds)) = state.store.count_pending_events().await {
        metrics::gauge!("eventplatform_mock_gateway_webhooks_pending").set(pending);
        metrics::gauge!("eventplatform_mock_gateway_webhooks_oldest_seconds").set(oldest_seconds);
    }
}

async fn deliver_one(state: AppState, event: DueEvent) -> Next {
    attempt(&state, &event).await.unwrap_or_else(|error| {
        tracing::warn!(event = event.id, %error, "webhook will be retried when its lease expires");
        Next::Retry(LEASE)
    })
}

/// Injects at most one fault per event, and makes one attempt to deliver it.
async fn attempt(state: &AppState, event: &DueEvent) -> sqlx::Result<Next> {
    let action = if event.fault.is_none() { take_fault(state, fault_target(event), None).await? } else { None };
    if let Some(action) = action {
        state.store.mark_event_fault(&event.id, action.into_str()).await?;
    }
    match action {
        Some(Action::DropWebhook) => return Ok(Next::Finish(event.id.clone())),
        Some(Action::ReorderWebhooks) => {
            state.store.hold_back_event(&event.id, REORDER_TIMEOUT).await?;
            return Ok(Next::Retry(REORDER_TIMEOUT));
        }
        Some(Action::DelayMs(ms)) => return postpone(state, event, Duration::from_millis(ms.into())).await,
        Some(Action::ForgeSignature) => send_forgery(state, event).await,
        _ => {}
    }
    let outcome = state.receiver.send(&event.body).await;
    let label = if outcome.is_ok() { "delivered" } else { "refused" };
    metrics::counter!("eventplatform_mock_gateway_webhooks_total", "outcome" => label).increment(1);
    if let Err(error) = outcome {
        tracing::info!(event = event.id, attempts = event.attempts, error = format!("{error:#}"), "webhook refused");
        return postpone(state, event, BACKOFF.after(event.attempts.unsigned_abs())).await;
    }
    if action == Some(Action::DuplicateWebhook)
        && let Err(error) = state.receiver.send(&event.body).await
    {
        tracing::info!(event = event.id, error = format!("{error:#}"), "duplicate webhook refused");
    }
    tracing::debug!(event = event.id, kind = event.kind, "webhook delivered");
    Ok(Next::Finish(event.id.clone()))
}

async fn postpone(state: &AppState, event: &DueEvent, pause: Duration) -> sqlx::Result<Next> {
    state.store.postpone_event(&event.id, pause).await?;
    Ok(Next::Retry(pause))
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
