//! The outbox of events: claimed under a lease, signed, sent at least once, again and again until they are taken.

use std::time::Duration;

use anyhow::ensure;
use hmac::{Hmac, KeyInit, Mac};
use platform::task::Progress;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use sha2::Sha256;
use tokio::task::JoinSet;

use crate::{
    domain::{
        fault::{Action, Operation, Subject},
        new_id,
    },
    execute::take_rule,
    objects,
    state::AppState,
    store::events::DueEvent,
};

/// How long a claimed event is left to the replica that claimed it; longer than a receiver may take.
const LEASE: Duration = Duration::from_secs(15);
/// How often events are looked for that nobody announced, such as those of another replica.
const POLL: Duration = Duration::from_millis(250);
/// The pause while the database is away.
const BACKOFF: Duration = Duration::from_secs(1);
/// How often what waits is measured.
const MEASURE: Duration = Duration::from_secs(5);
/// The most deliveries at a time.
const CONCURRENCY: usize = 16;
/// The first pause after a failed delivery; it doubles each time.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// The longest such pause.
const MAX_RETRY: Duration = Duration::from_secs(5);
/// Nobody takes it: given up after three days, as Stripe does.
const GIVE_UP: Duration = Duration::from_secs(3 * 24 * 3600);
/// How long a reordered event waits for a later one of its intent.
const REORDER_WAIT: Duration = Duration::from_secs(3);

/// Sends events until the program stops, and lets those under way end.
pub(crate) async fn deliver(state: AppState, progress: Progress) {
    let mut under_way = JoinSet::new();
    let mut measurements = tokio::time::interval(MEASURE);
    while !state.stopping.is_cancelled() {
        let pause = match claim(&state, CONCURRENCY - under_way.len()).await {
            Ok(events) => {
                progress.succeeded();
                for event in events {
                    under_way.spawn(deliver_one(state.clone(), event));
                }
                POLL
            }
            Err(error) => {
                progress.failed(&error.into());
                BACKOFF
            }
        };
        tokio::select! {
            () = state.stopping.cancelled() => {}
            () = state.events_waiting.notified() => {}
            Some(delivered) = under_way.join_next() => {
                if let Err(panicked) = delivered {
                    // It is tried again when its lease runs out.
                    progress.failed(&panicked.into());
                }
            }
            _ = measurements.tick() => measure(&state).await,
            () = tokio::time::sleep(pause) => {}
        }
    }
    while under_way.join_next().await.is_some() {}
}

async fn claim(state: &AppState, room: usize) -> sqlx::Result<Vec<DueEvent>> {
    if room == 0 {
        return Ok(Vec::new());
    }
    state.store.claim_events(i64::try_from(room).unwrap_or(1), LEASE, GIVE_UP).await
}

/// Shows how many events wait, and for how long. While the database is away the last figures stay.
async fn measure(state: &AppState) {
    if let Ok((pending, oldest_seconds)) = state.store.count_pending_events().await {
        metrics::gauge!("eventplatform_mock_gateway_webhooks_pending").set(pending);
        metrics::gauge!("eventplatform_mock_gateway_webhooks_oldest_seconds").set(oldest_seconds);
    }
}

async fn deliver_one(state: AppState, event: DueEvent) {
    if let Err(error) = attempt(&state, &event).await {
        // It is tried again when its lease runs out.
        tracing::warn!(event = event.id, %error, "webhook left to its lease");
    }
}

/// Sends an event once, after the misbehaviour that is ordered for it.
async fn attempt(state: &AppState, event: &DueEvent) -> sqlx::Result<()> {
    let action = if event.fault.is_none() { take_rule(state, subject(event), None).await? } else { None };
    if let Some(action) = action {
        state.store.mark_event_fault(&event.id, action.as_str()).await?;
    }
    match action {
        Some(Action::DropWebhook) => return state.store.drop_event(&event.id).await,
        Some(Action::ReorderWebhooks) => return state.store.hold_event_back(&event.id, REORDER_WAIT).await,
        Some(Action::DelayMs(ms)) => {
            return state.store.postpone_event(&event.id, Duration::from_millis(ms.into())).await;
        }
        Some(Action::ForgeSignature) => send_forgery(state, event).await,
        _ => {}
    }
    let outcome = send(state, &event.body, state.webhook_secret.expose()).await;
    let label = if outcome.is_ok() { "delivered" } else { "refused" };
    metrics::counter!("eventplatform_mock_gateway_webhooks_total", "outcome" => label).increment(1);
    if let Err(error) = outcome {
        let pause = retry_pause(event.attempts);
        tracing::info!(event = event.id, attempts = event.attempts, error = format!("{error:#}"), "webhook not taken");
        return state.store.postpone_event(&event.id, pause).await;
    }
    if action == Some(Action::DuplicateWebhook)
        && let Err(error) = send(state, &event.body, state.webhook_secret.expose()).await
    {
        tracing::info!(event = event.id, error = format!("{error:#}"), "duplicate of a webhook not taken");
    }
    tracing::debug!(event = event.id, kind = event.kind, "webhook delivered");
    state.store.finish_event(event).await
}

fn subject(event: &DueEvent) -> Subject {
    Subject {
        operations: vec![Operation::Webhook],
        payment_method: None,
        booking_id: event.booking_id.clone(),
        event_type: Some(event.kind.clone()),
    }
}

/// The pause after the `attempts`th failure.
fn retry_pause(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 16) - 1).unwrap_or(0);
    FIRST_RETRY.saturating_mul(1 << doublings).min(MAX_RETRY)
}

async fn send_forgery(state: &AppState, event: &DueEvent) {
    let Ok(genuine) = serde_json::from_str::<Value>(&event.body) else { return };
    let forged = objects::forge(&genuine).to_string();
    // A secret that only the forger has.
    match send(state, &forged, &new_id("whsec")).await {
        Ok(()) => {
            metrics::counter!("eventplatform_mock_gateway_forgeries_accepted_total").increment(1);
            tracing::error!(event = event.id, "the receiver took a forged webhook");
        }
        Err(error) => tracing::info!(event = event.id, error = format!("{error:#}"), "forged webhook refused"),
    }
}

/// Posts a body with its signature; fails on anything but 2xx.
async fn send(state: &AppState, body: &str, secret: &str) -> anyhow::Result<()> {
    let signature = signature(secret, state.clock.now().timestamp(), body);
    let response = state
        .client
        .post(state.webhook_url.clone())
        .header(CONTENT_TYPE, "application/json; charset=utf-8")
        .header("Stripe-Signature", signature)
        .body(body.to_owned())
        .send()
        .await?;
    ensure!(response.status().is_success(), "the receiver answered {}", response.status());
    Ok(())
}

/// Stripe's scheme v1: HMAC-SHA256 over the time and the body (<https://docs.stripe.com/webhooks/signature>).
fn signature(secret: &str, timestamp: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{timestamp}.{body}").as_bytes());
    format!("t={timestamp},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_stripes() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac whsec_test
        let expected = "t=1700000000,v1=38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789";

        assert_eq!(signature("whsec_test", 1_700_000_000, r#"{"a":1}"#), expected);
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        assert_eq!(retry_pause(1), FIRST_RETRY);
        assert_eq!(retry_pause(2), FIRST_RETRY * 2);
        assert_eq!(retry_pause(1000), MAX_RETRY);
    }
}
