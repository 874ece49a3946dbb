//! Group commit: one queue per event and replica, whose waiting operations are committed together.
//!
//! A worker commits the waiting operations in one transaction and answers them; it ends when the queue is empty. There
//! is no fixed delay: a batch is what arrived while the previous one was committing. An operation is completed even if
//! its client disconnects. A hold that would be committed after its caller has given up is refused instead, and
//! confirmations go ahead of holds: what is paid for comes first.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::anyhow;
use bson::Bson;
use chrono::TimeDelta;
use contracts::reservation::{DecreaseCapacity, Hold, ReservationStatus};
use platform::{
    Lifecycle,
    outbox::{Handoff, OutboxRow},
    task,
    trace::RequestContext,
};
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

use crate::{
    cache::EventCache,
    domain::{
        Event, EventPatch, Refusal,
        batch::{Answer, BatchOutcome, EventChange, Operation},
    },
    store::Store,
};

/// How long a batch may take. After that it continues in the background, where the conditions of its transaction keep
/// it from overwriting newer changes.
const BATCH_TIMEOUT: Duration = Duration::from_secs(18);

/// The queues of one replica, one per event that has waiting operations. Cheap to clone.
#[derive(Clone)]
pub struct OperationQueue {
    inner: Arc<Inner>,
}

#[derive(Clone, Copy, Debug)]
pub struct QueueSettings {
    /// The most operations on one event that are committed together, at least 1.
    pub batch_max: usize,
    /// How long an event must stay unchanged before its holders are notified of what changed.
    pub quiet_period: TimeDelta,
}

/// Why an operation has no answer.
#[derive(Clone, Debug)]
pub enum Failure {
    Refused(Refusal),
    /// Whether it was committed is not known; repeating it finds out.
    Unknown(Arc<anyhow::Error>),
    /// Not committed, as far as is known: after a panic it may have been. Repeating it is safe.
    Failed(Arc<anyhow::Error>),
    /// It was not begun, because it could not have been committed in time.
    Overloaded,
}

struct Inner {
    store: Store,
    cache: EventCache,
    lifecycle: Lifecycle,
    outbox: Handoff<Bson>,
    settings: QueueSettings,
    /// An entry for each event that has a worker.
    queues: Mutex<HashMap<String, VecDeque<QueuedOperation>>>,
}

struct QueuedOperation {
    operation: Operation,
    /// Nobody waits for the answer after this.
    deadline: Option<Instant>,
    answer: oneshot::Sender<Result<Answer, Failure>>,
}

impl OperationQueue {
    /// `outbox` gets the messages that were written.
    pub fn new(
        store: Store,
        cache: EventCache,
        lifecycle: Lifecycle,
        outbox: Handoff<Bson>,
        settings: QueueSettings,
    ) -> Self {
        let queues = Mutex::default();
        Self { inner: Arc::new(Inner { store, cache, lifecycle, outbox, settings, queues }) }
    }

    /// Holds seats, by `deadline` or not at all. The same reservation id never takes seats twice.
    pub async fn hold(
        &self,
        event_id: &str,
        request: DecreaseCapacity,
        deadline: Option<Instant>,
    ) -> Result<Hold, Failure> {
        match self.submit_by(deadline, event_id, Operation::Hold(request)).await? {
            Answer::Held(hold) => Ok(hold),
            other => Err(unexpected(&other)),
        }
    }

    /// Sells the seats of a hold.
    pub async fn confirm(&self, event_id: &str, reservation_id: Uuid) -> Result<ReservationStatus, Failure> {
        self.change_reservation(event_id, Operation::Confirm { reservation_id }).await
    }

    /// Releases seats, held or sold; with `only_expired` only those of an expired hold.
    pub async fn release(
        &self,
        event_id: &str,
        reservation_id: Uuid,
        only_expired: bool,
    ) -> Result<ReservationStatus, Failure> {
        self.change_reservation(event_id, Operation::Release { reservation_id, only_expired }).await
    }

    /// Changes the event, and returns it.
    pub async fn edit(&self, event_id: &str, patch: EventPatch) -> Result<Event, Failure> {
        let quiet_period = self.inner.settings.quiet_period;
        let operation = Operation::Edit { patch: Box::new(patch), quiet_period, traceparent: traceparent() };
        match self.submit(event_id, operation).await? {
            Answer::Event(event) => Ok(*event),
            other => Err(unexpected(&other)),
        }
    }

    /// Notifies holders of what changed, if that is due.
    pub async fn notify_holders(&self, event_id: &str) -> Result<(), Failure> {
        self.submit(event_id, Operation::NotifyHolders).await.map(drop)
    }

    /// Deletes the event and returns `None`. Where a seat is taken or was ever sold, cancels the event and returns it.
    pub async fn delete(&self, event_id: &str) -> Result<Option<Event>, Failure> {
        match self.submit(event_id, Operation::Delete { traceparent: traceparent() }).await? {
            Answer::Event(event) => Ok(Some(*event)),
            Answer::Deleted => Ok(None),
            other => Err(unexpected(&other)),
        }
    }

    async fn change_reservation(&self, event_id: &str, operation: Operation) -> Result<ReservationStatus, Failure> {
        match self.submit(event_id, operation).await? {
            Answer::Reservation(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    async fn submit(&self, event_id: &str, operation: Operation) -> Result<Answer, Failure> {
        self.submit_by(None, event_id, operation).await
    }

    async fn submit_by(
        &self,
        deadline: Option<Instant>,
        event_id: &str,
        operation: Operation,
    ) -> Result<Answer, Failure> {
        let (answer, answered) = oneshot::channel();
        self.inner.enqueue(event_id, QueuedOperation { operation, deadline, answer });
        answered.await.unwrap_or_else(|_| Err(unknown(anyhow!("the batch ended without an answer"))))
    }
}

impl Inner {
    fn enqueue(self: &Arc<Self>, event_id: &str, queued: QueuedOperation) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.entry(event_id.to_owned()) {
            Entry::Occupied(mut queue) if matches!(queued.operation, Operation::Confirm { .. }) => {
                queue.get_mut().push_front(queued);
            }
            Entry::Occupied(mut queue) => queue.get_mut().push_back(queued),
            Entry::Vacant(entry) => {
                entry.insert(VecDeque::from([queued]));
                let worker = Worker { inner: self.clone(), event_id: event_id.to_owned() };
                task::spawn(&self.lifecycle, "capacity_worker", worker.run());
            }
        }
    }
}

/// Commits the queue of one event. The queue is removed when the worker ends, also by a panic.
struct Worker {
    inner: Arc<Inner>,
    event_id: String,
}

impl Worker {
    async fn run(self) {
        let mut last_duration = Duration::ZERO;
        while let Some(batch) = self.take() {
            let begun = Instant::now();
            let in_time = |queued: &QueuedOperation| queued.deadline.is_none_or(|at| begun + last_duration < at);
            let (batch, late): (Vec<_>, Vec<_>) = batch.into_iter().partition(in_time);
            for queued in late {
                queued.answer.send(Err(Failure::Overloaded)).ok();
            }
            if batch.is_empty() {
                // Only a batch shows whether the next one is faster.
                last_duration = Duration::ZERO;
                continue;
            }
            let (operations, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|queued| (queued.operation, queued.answer)).unzip();
            let results = self.commit(operations).await;
            last_duration = begun.elapsed();
            for (answer, result) in answers.into_iter().zip(results) {
                // This fails if the client has disconnected.
                answer.send(result).ok();
            }
        }
    }

    /// The next batch. If the queue is empty, removes it under the same lock and returns `None`.
    fn take(&self) -> Option<Vec<QueuedOperation>> {
        let mut queues = self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.get_mut(&self.event_id)?;
        if queue.is_empty() {
            queues.remove(&self.event_id);
            return None;
        }
        let size = queue.len().min(self.inner.settings.batch_max);
        Some(queue.drain(..size).collect())
    }

    /// Commits operations together. If the database rejects the batch, commits them one by one, so that a single
    /// operation that cannot be written does not fail the others.
    async fn commit(&self, operations: Vec<Operation>) -> Vec<Result<Answer, Failure>> {
        match self.commit_batch(operations.clone()).await {
            Err(Failure::Failed(_)) if operations.len() > 1 => {
                let mut results = Vec::with_capacity(operations.len());
                for operation in operations {
                    let alone = self.commit_batch(vec![operation]).await;
                    results.push(alone.and_then(|mut answers| answers.pop().unwrap_or_else(|| Err(no_answer()))));
                }
                results
            }
            Err(failure) => operations.iter().map(|_| Err(failure.clone())).collect(),
            Ok(answers) => answers,
        }
    }

    async fn commit_batch(&self, operations: Vec<Operation>) -> Result<Vec<Result<Answer, Failure>>, Failure> {
        let (store, event_id) = (self.inner.store.clone(), self.event_id.clone());
        let (started, size) = (Instant::now(), operations.len());
        // A task of its own, because the driver's futures must not be dropped midway.
        let committing = tokio::spawn(async move { store.commit_batch(&event_id, &operations).await });
        let outcome = match tokio::time::timeout(BATCH_TIMEOUT, committing).await {
            Ok(Ok(Ok(outcome))) => outcome,
            Ok(Ok(Err(failure))) if failure.is_unavailable() => return Err(unknown(failure.into())),
            Ok(Ok(Err(failure))) => return Err(Failure::Failed(Arc::new(failure.into()))),
            Ok(Err(panicked)) => return Err(Failure::Failed(Arc::new(panicked.into()))),
            Err(_) => return Err(unknown(anyhow!("the database did not answer within {BATCH_TIMEOUT:?}"))),
        };
        metrics::histogram!("eventplatform_capacity_batch_seconds").record(started.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a batch has a few thousand operations at most")]
        metrics::histogram!("eventplatform_capacity_batch_size").record(size as f64);
        platform::failpoint!("event.batch.committed");
        self.after_commit(&outcome).await;
        Ok(outcome.answers.into_iter().map(|answer| answer.map_err(Failure::Refused)).collect())
    }

    async fn after_commit(&self, outcome: &BatchOutcome) {
        match &outcome.event {
            EventChange::Unchanged => {}
            // Lists may show outdated counters until they expire.
            EventChange::Counters(_) => self.inner.cache.invalidate_event(&self.event_id).await,
            EventChange::Edited(_) | EventChange::Deleted => {
                self.inner.cache.invalidate_event(&self.event_id).await;
                self.inner.cache.invalidate_lists();
            }
        }
        let messages = outcome.messages.iter().cloned();
        self.inner.outbox.send(messages.map(|message| OutboxRow::new(message.id.to_string(), message)).collect());
        count_holds(outcome);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a normal end the queue is removed already, or belongs to a later worker.
        if std::thread::panicking() {
            self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.event_id);
        }
    }
}

fn count_holds(outcome: &BatchOutcome) {
    for answer in &outcome.answers {
        let result = match answer {
            Ok(Answer::Held(_)) => "held",
            Err(Refusal::SoldOut { .. }) => "sold_out",
            Err(Refusal::HeldSeatsLimit { .. } | Refusal::PersonLimitReached { .. }) => "person_limit",
            _ => continue,
        };
        metrics::counter!("eventplatform_holds_total", "result" => result).increment(1);
    }
}

fn unknown(cause: anyhow::Error) -> Failure {
    Failure::Unknown(Arc::new(cause))
}

fn no_answer() -> Failure {
    Failure::Failed(Arc::new(anyhow!("an operation was applied without an answer")))
}

fn unexpected(answer: &Answer) -> Failure {
    Failure::Failed(Arc::new(anyhow!("the answer belongs to another operation: {answer:?}")))
}

fn traceparent() -> Option<String> {
    RequestContext::current().map(|context| context.trace.to_string())
}
