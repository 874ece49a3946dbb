//! The relay: publishes the rows of an outbox, at least once, in the order they were claimed.
//!
//! A change of state and its message are written in the same transaction. This loop finds rows that are not published yet
//! (never "ids above the last": transactions commit out of order), publishes them with confirms and then marks them.
//! No lock spans a confirm: a claim is a lease, and when it expires another relay may publish the same row again.
//! Consumers are idempotent by message id.
//!
//! The relay does not read messages: it publishes the stored bytes under the stored routing key. A row that cannot be
//! published (no routing key, too large, no queue for it, refused by RabbitMQ) is retried after growing pauses,
//! after the rows that were not tried yet. It is never marked as published, and does not delay other rows.

#[cfg(feature = "postgres")]
pub mod postgres;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use contracts::message::Message;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    Lifecycle,
    bus::{OutgoingMessage, PublishFailure, Publisher, Refusal},
    task::{Next, Schedule, repeat},
};

/// How long a claimed row is left to the relay that claimed it.
pub const CLAIM_LEASE: Duration = Duration::from_secs(20);
/// Rows claimed at once.
const BATCH: u32 = 200;
/// How often the relay polls if nothing wakes it.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The pause after a row's first refusal; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause for a row that RabbitMQ refused, so that a repair there takes effect soon.
const MAX_PAUSE: Duration = Duration::from_secs(20);
/// The longest pause for a row that cannot be sent at all.
const MAX_UNUSABLE_PAUSE: Duration = Duration::from_secs(600);

/// A message to be written to an outbox.
#[derive(Clone, Debug)]
pub struct OutboxMessage {
    /// Becomes the AMQP `message_id`, by which consumers recognize duplicates.
    pub id: Uuid,
    /// The fact.
    pub message: Message,
    /// The trace in which the message was written.
    pub traceparent: Option<String>,
    /// When the message was written.
    pub created_at: DateTime<Utc>,
}

/// A row of an outbox, as it is stored.
#[derive(Clone, Debug)]
pub struct OutboxRow<Id> {
    /// Identifies the row in its store.
    pub id: Id,
    /// Becomes the AMQP `message_id`, by which consumers recognize duplicates.
    pub message_id: String,
    /// The topic to publish to; `None` if the row has none.
    pub routing_key: Option<String>,
    /// JSON; `None` if it is larger than [`MAX_BODY_BYTES`](crate::bus::MAX_BODY_BYTES).
    pub body: Option<Vec<u8>>,
    /// The trace in which the message was written.
    pub traceparent: Option<String>,
    /// How often it was refused.
    pub attempts: u32,
    /// When the message was written.
    pub created_at: DateTime<Utc>,
}

impl From<OutboxMessage> for OutboxRow<Uuid> {
    fn from(message: OutboxMessage) -> Self {
        Self {
            id: message.id,
            message_id: message.id.to_string(),
            routing_key: Some(message.message.routing_key().to_owned()),
            body: Some(serde_json::to_vec(&message.message).expect("a message is plain data")),
            traceparent: message.traceparent,
            attempts: 0,
            created_at: message.created_at,
        }
    }
}

impl<'a, Id> From<&'a OutboxRow<Id>> for OutgoingMessage<'a> {
    fn from(row: &'a OutboxRow<Id>) -> Self {
        Self {
            message_id: &row.message_id,
            routing_key: row.routing_key.as_deref(),
            body: row.body.as_deref(),
            traceparent: row.traceparent.as_deref(),
            created_at: row.created_at,
        }
    }
}

/// The storage of rows.
pub trait OutboxStore: Send + Sync + 'static {
    /// Identifies a row.
    type Id: Clone + Send + Sync;

    /// Leases up to `limit` rows that are neither published nor leased, those with the fewest refusals first, then the
    /// oldest.
    fn claim(&self, limit: u32) -> impl Future<Output = anyhow::Result<Vec<OutboxRow<Self::Id>>>> + Send;
    /// Marks rows as published.
    fn mark_published(&self, ids: &[Self::Id]) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Releases the leases of rows that were not tried.
    fn release(&self, ids: &[Self::Id]) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Records that rows were refused, and sets their pauses.
    fn postpone(&self, ids: &[Self::Id], pause: Duration) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// The unpublished rows of an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Rows not yet published.
    pub unpublished: u64,
    /// Unpublished rows that were refused at least once.
    pub refused: u64,
    /// Age of the oldest row that was not refused, in seconds; 0 if there is none.
    pub lag_seconds: f64,
}

impl Backlog {
    /// Sets the gauges of the outbox.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub fn record(&self) {
        metrics::gauge!("eventplatform_outbox_unpublished").set(self.unpublished as f64);
        metrics::gauge!("eventplatform_outbox_refused").set(self.refused as f64);
        metrics::gauge!("eventplatform_outbox_lag_seconds").set(self.lag_seconds);
    }
}

/// Starts publishing; ends with `lifecycle`. `wake` shortens the wait after a commit.
pub fn start_relay(lifecycle: &Lifecycle, store: impl OutboxStore, publisher: Publisher, wake: Arc<Notify>) {
    let store = Arc::new(store);
    repeat(lifecycle, "outbox_relay", Schedule::every(POLL_INTERVAL).or_woken_by(wake), move || {
        let (store, publisher) = (store.clone(), publisher.clone());
        async move {
            let outcome = publish_batch(store.as_ref(), &publisher).await;
            if outcome.is_err() {
                metrics::counter!("eventplatform_outbox_failures_total").increment(1);
            }
            outcome.map_err(|error| error.context("outbox not published"))
        }
    });
}

/// Publishes one batch. Fails if RabbitMQ or the database is unavailable.
async fn publish_batch<S: OutboxStore>(store: &S, publisher: &Publisher) -> anyhow::Result<Next> {
    let batch = store.claim(BATCH).await?;
    if batch.is_empty() {
        return Ok(Next::Later);
    }
    crate::failpoint!("relay.claimed");
    let results = publisher.publish_all(&batch).await;
    let outcome = Outcome::of(&batch, results);
    metrics::counter!("eventplatform_outbox_published_total").increment(outcome.published.len() as u64);
    if !outcome.published.is_empty() {
        crate::failpoint!("relay.published");
        store.mark_published(&outcome.published).await?;
        crate::failpoint!("relay.marked");
    }
    for (pause, ids) in &outcome.refused {
        store.postpone(ids, *pause).await?;
    }
    if let Some(error) = outcome.unavailable {
        store.release(&outcome.untried).await?;
        return Err(error);
    }
    Ok(Next::immediately_if(batch.len() >= BATCH as usize))
}

/// The outcome of a batch.
struct Outcome<Id> {
    published: Vec<Id>,
    /// Refused rows by the pause until the next try.
    refused: BTreeMap<Duration, Vec<Id>>,
    untried: Vec<Id>,
    unavailable: Option<anyhow::Error>,
}

impl<Id: Clone> Outcome<Id> {
    fn of(batch: &[OutboxRow<Id>], results: Vec<Result<(), PublishFailure>>) -> Self {
        let (published, refused, untried) = (Vec::new(), BTreeMap::<_, Vec<Id>>::new(), Vec::new());
        let mut outcome = Self { published, refused, untried, unavailable: None };
        for (row, result) in batch.iter().zip(results) {
            match result {
                Ok(()) => outcome.published.push(row.id.clone()),
                Err(PublishFailure::Refused(refusal)) => {
                    report(row, &refusal);
                    outcome.refused.entry(pause(row.attempts, &refusal)).or_default().push(row.id.clone());
                }
                Err(PublishFailure::Unavailable(error)) => {
                    outcome.untried.push(row.id.clone());
                    outcome.unavailable = Some(error);
                }
            }
        }
        outcome
    }
}

fn report<Id>(row: &OutboxRow<Id>, refusal: &Refusal) {
    let OutboxRow { message_id, routing_key, attempts, .. } = row;
    tracing::error!(message_id, routing_key, attempts, reason = %refusal, "an outbox row cannot be published");
    metrics::counter!("eventplatform_outbox_refusals_total", "reason" => refusal.reason()).increment(1);
}

/// The pause after a refusal of a row that was refused `attempts` times before.
fn pause(attempts: u32, refusal: &Refusal) -> Duration {
    let longest = if refusal.is_unusable() { MAX_UNUSABLE_PAUSE } else { MAX_PAUSE };
    FIRST_PAUSE.saturating_mul(1 << attempts.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        assert_eq!(pause(0, &Refusal::NoRoutingKey), FIRST_PAUSE);
        assert_eq!(pause(3, &Refusal::NoRoutingKey), FIRST_PAUSE * 8);
        assert_eq!(pause(u32::MAX, &Refusal::NoRoutingKey), MAX_UNUSABLE_PAUSE);
        assert_eq!(pause(30, &Refusal::Nacked), MAX_PAUSE);
    }
}
