//! The relay: publishes the rows of an outbox, at least once, in the order they were claimed.
//!
//! Whoever changes state writes the message in the same transaction; this loop finds rows that are not yet published
//! (never "ids above the last": transactions commit out of order), publishes them with confirms and then marks them.
//! No lock spans a confirm: a claim is a lease, and a second relay may publish the same row again when it runs out.
//! Consumers are idempotent by message id.

use std::{future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use contracts::message::Message;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    bus::Publisher,
    server::Lifecycle,
    task::{Next, Schedule, repeat},
};

/// How long a claimed row is left to the relay that claimed it.
pub const CLAIM_LEASE: Duration = Duration::from_secs(20);
/// Rows claimed at once.
const BATCH: u32 = 200;
/// The longest a row waits when nobody woke the relay.
const POLL: Duration = Duration::from_millis(500);

/// A row of an outbox.
#[derive(Clone, Debug)]
pub struct OutboxMessage {
    /// Becomes the AMQP `message_id`; consumers go by it.
    pub id: Uuid,
    /// The fact.
    pub message: Message,
    /// The trace that the fact came about in.
    pub traceparent: Option<String>,
    /// When it came about.
    pub created_at: DateTime<Utc>,
}

/// Where rows live.
pub trait OutboxStore: Send + Sync + 'static {
    /// Leases up to `limit` rows that are neither published nor leased, oldest first.
    fn claim(&self, limit: u32) -> impl Future<Output = anyhow::Result<Vec<OutboxMessage>>> + Send;
    /// Marks rows as published.
    fn mark_published(&self, ids: &[Uuid]) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Gives up the leases of rows that could not be published.
    fn release(&self, ids: &[Uuid]) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Starts to publish; ends with `lifecycle`. `wake` shortens the wait after a commit.
pub fn start_relay(lifecycle: &Lifecycle, store: impl OutboxStore, publisher: Publisher, wake: Arc<Notify>) {
    let store = Arc::new(store);
    repeat(lifecycle, "outbox_relay", Schedule::every(POLL).or_woken_by(wake), move || {
        let (store, publisher) = (store.clone(), publisher.clone());
        async move {
            let outcome = publish_batch(store.as_ref(), &publisher).await;
            if outcome.is_err() {
                metrics::counter!("eventplatform_outbox_failures_total").increment(1);
            }
            outcome
        }
    });
}

/// Publishes one batch.
async fn publish_batch(store: &impl OutboxStore, publisher: &Publisher) -> anyhow::Result<Next> {
    let batch = store.claim(BATCH).await?;
    if batch.is_empty() {
        return Ok(Next::Later);
    }
    crate::failpoint!("relay.claimed");
    let results = publisher.publish_all(&batch).await;
    let (mut published, mut failed, mut last_error) = (Vec::new(), Vec::new(), None);
    for (row, result) in batch.iter().zip(results) {
        match result {
            Ok(()) => published.push(row.id),
            Err(error) => {
                failed.push(row.id);
                last_error = Some(error);
            }
        }
    }
    metrics::counter!("eventplatform_outbox_published_total").increment(published.len() as u64);
    if !published.is_empty() {
        crate::failpoint!("relay.published");
        store.mark_published(&published).await?;
        crate::failpoint!("relay.marked");
    }
    if let Some(error) = last_error {
        store.release(&failed).await?;
        return Err(error);
    }
    Ok(if batch.len() >= BATCH as usize { Next::AtOnce } else { Next::Later })
}
