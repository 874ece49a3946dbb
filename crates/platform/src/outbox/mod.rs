//! The relay: publishes the rows of an outbox, at least once, in the order they were committed or claimed.
//!
//! A change of state and its message are written in the same transaction. This loop finds rows that are not published yet
//! (never "ids above the last": transactions commit out of order), publishes them with confirms and then marks them.
//! No lock spans a confirm: a claim is a lease, and when it expires another relay may publish the same row again.
//! Consumers are idempotent by message id.
//!
//! A row that is written with a lease and given to [`Handoff`] after its commit is published without a claim, and marked
//! together with others. The relay looks for other rows when the earliest lease ends, at least every ten seconds.
//!
//! The relay does not read messages: it publishes the stored bytes under the stored routing key. A row that cannot be
//! published (no routing key, too large, no queue for it, refused by RabbitMQ) is retried after growing pauses,
//! after the rows that were not tried yet. It is never marked as published, and does not delay other rows.

#[cfg(feature = "postgres")]
pub mod postgres;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use contracts::message::Message;
use tokio::{sync::Notify, time::Instant};
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
/// How long a row is left to the process that committed it.
pub const HANDOFF_LEASE: Duration = Duration::from_secs(10);
/// Rows that wait in this process. More are left to a later claim.
const MAX_HANDOFF: usize = 10_000;
/// How long published rows of [`Handoff`] wait to be marked together. A process that is killed meanwhile leaves them to be
/// published again.
const MARK_INTERVAL: Duration = Duration::from_secs(2);
/// The longest time between two searches for rows that other processes left.
const HEARTBEAT: Duration = Duration::from_secs(10);
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
        Self::new(message.id, message)
    }
}

impl<Id> OutboxRow<Id> {
    /// The row of a message that was just written under `id`.
    pub fn new(id: impl Into<Id>, message: OutboxMessage) -> Self {
        Self {
            id: id.into(),
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
    /// The time until the next unpublished row can be claimed. `None` if there is none.
    fn next_due(&self) -> impl Future<Output = anyhow::Result<Option<Duration>>> + Send;
}

/// Rows on their way from the transactions of this process to its relay. Cheap to clone.
#[derive(Debug)]
pub struct Handoff<Id>(Arc<HandoffQueue<Id>>);

#[derive(Debug)]
struct HandoffQueue<Id> {
    rows: Mutex<Vec<OutboxRow<Id>>>,
    /// Rows without a lease were committed.
    claim: AtomicBool,
    wake: Arc<Notify>,
}

impl<Id> Handoff<Id> {
    /// Gives rows to the relay: they are committed, with a lease of [`HANDOFF_LEASE`].
    pub fn send(&self, rows: Vec<OutboxRow<Id>>) {
        if rows.is_empty() {
            return;
        }
        let mut waiting = self.0.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_HANDOFF.saturating_sub(waiting.len());
        waiting.extend(rows.into_iter().take(room));
        drop(waiting);
        self.0.wake.notify_one();
    }

    /// Makes the relay claim rows now: some were committed without a lease.
    pub fn wake(&self) {
        self.0.claim.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }

    fn take(&self) -> Vec<OutboxRow<Id>> {
        let mut waiting = self.0.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(BATCH as usize);
        waiting.drain(..count).collect()
    }

    fn is_empty(&self) -> bool {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl<Id> Clone for Handoff<Id> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Id> Default for Handoff<Id> {
    fn default() -> Self {
        Self(Arc::new(HandoffQueue { rows: Mutex::default(), claim: AtomicBool::new(false), wake: Arc::default() }))
    }
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

/// Starts publishing; ends with `lifecycle`.
pub fn start_relay<S: OutboxStore>(lifecycle: &Lifecycle, store: S, publisher: Publisher, handoff: Handoff<S::Id>) {
    let schedule = Schedule::every(HEARTBEAT).or_woken_by(handoff.0.wake.clone());
    let progress = tokio::sync::Mutex::new(RelayProgress::new());
    let relay = Arc::new(Relay { store, publisher, handoff, progress });
    repeat(lifecycle, "outbox_relay", schedule, move || {
        let relay = relay.clone();
        async move {
            let outcome = relay.round().await;
            if outcome.is_err() {
                metrics::counter!("eventplatform_outbox_failures_total").increment(1);
            }
            outcome.map_err(|error| error.context("outbox not published"))
        }
    });
}

struct Relay<S: OutboxStore> {
    store: S,
    publisher: Publisher,
    handoff: Handoff<S::Id>,
    progress: tokio::sync::Mutex<RelayProgress<S::Id>>,
}

/// What the next round of the relay has to do, and when.
struct RelayProgress<Id> {
    /// Rows of the handoff that are published and not marked yet.
    unmarked: Vec<Id>,
    mark_at: Instant,
    claim_at: Instant,
}

impl<Id> RelayProgress<Id> {
    fn new() -> Self {
        Self { unmarked: Vec::new(), mark_at: Instant::now(), claim_at: Instant::now() }
    }
}

impl<S: OutboxStore> Relay<S> {
    /// Publishes what is there. Fails if RabbitMQ or the database is unavailable.
    async fn round(&self) -> anyhow::Result<Next> {
        let mut progress = self.progress.lock().await;
        let fresh = self.handoff.take();
        if !fresh.is_empty() {
            if progress.unmarked.is_empty() {
                progress.mark_at = Instant::now() + MARK_INTERVAL;
            }
            let published = self.publish(&fresh, &mut progress.claim_at).await?;
            progress.unmarked.extend(published);
        }
        if !progress.unmarked.is_empty()
            && (progress.mark_at <= Instant::now() || progress.unmarked.len() >= BATCH as usize)
        {
            self.store.mark_published(&progress.unmarked).await?;
            progress.unmarked.clear();
        }
        let woken = self.handoff.0.claim.swap(false, Ordering::AcqRel);
        if woken || progress.claim_at <= Instant::now() {
            progress.claim_at = Instant::now();
            let due = if woken { None } else { self.store.next_due().await?.or(Some(HEARTBEAT)) };
            let due = due.unwrap_or_default().min(HEARTBEAT);
            progress.claim_at = Instant::now() + due;
            if due.is_zero() {
                self.claim(&mut progress.claim_at).await?;
            }
        }
        let next =
            if progress.unmarked.is_empty() { progress.claim_at } else { progress.mark_at.min(progress.claim_at) };
        let pause = next.saturating_duration_since(Instant::now());
        Ok(if pause.is_zero() || !self.handoff.is_empty() { Next::Immediately } else { Next::After(pause) })
    }

    /// Claims and publishes what is due.
    async fn claim(&self, claim_at: &mut Instant) -> anyhow::Result<()> {
        let batch = self.store.claim(BATCH).await?;
        if batch.is_empty() {
            // Another relay was faster.
            *claim_at = Instant::now() + FIRST_PAUSE;
            return Ok(());
        }
        crate::failpoint!("relay.claimed");
        let published = self.publish(&batch, claim_at).await?;
        self.store.mark_published(&published).await?;
        crate::failpoint!("relay.marked");
        Ok(())
    }

    /// Publishes a batch; returns what has to be marked. What was not tried is released, to be claimed.
    async fn publish(&self, batch: &[OutboxRow<S::Id>], claim_at: &mut Instant) -> anyhow::Result<Vec<S::Id>> {
        let results = self.publisher.publish_all(batch).await;
        let outcome = Outcome::of(batch, results);
        metrics::counter!("eventplatform_outbox_published_total").increment(outcome.published.len() as u64);
        if !outcome.published.is_empty() {
            crate::failpoint!("relay.published");
        }
        for (pause, ids) in &outcome.refused {
            *claim_at = (*claim_at).min(Instant::now() + *pause);
            self.store.postpone(ids, *pause).await?;
        }
        if let Some(error) = outcome.unavailable {
            *claim_at = Instant::now();
            self.store.mark_published(&outcome.published).await?;
            self.store.release(&outcome.untried).await?;
            return Err(error);
        }
        Ok(outcome.published)
    }
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
