//! Group commit: one queue per event and replica; whatever waits is committed together.
//!
//! A worker takes what waits, commits it in one transaction and answers; it ends when nothing waits any more. There is
//! no fixed delay: a batch is what arrived while the one before was committing. A request whose client has gone is
//! completed all the same.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::anyhow;
use chrono::TimeDelta;
use contracts::reservation::{DecreaseCapacity, Hold, ReservationStatus};
use platform::{Lifecycle, task, trace::RequestContext};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    domain::{Answer, BatchOutcome, Event, EventChange, EventPatch, Operation, Refusal},
    error::Failure,
    reads::Reads,
    store::Store,
};

/// The longest wait for a batch. One that the database swallowed goes on in the background; the guards of the
/// transaction keep it from doing harm.
const BATCH_TIMEOUT: Duration = Duration::from_secs(18);

/// The queues of one replica. Cheap to clone.
#[derive(Clone)]
pub struct Capacity {
    inner: Arc<Inner>,
}

/// Rules that the operator of the platform sets.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The most requests of one event that are committed together.
    pub batch_max: usize,
    /// How long an event must stay unchanged before its holders are told what changed.
    pub change_quiet: TimeDelta,
}

struct Inner {
    store: Store,
    reads: Reads,
    lifecycle: Lifecycle,
    outbox_wake: Arc<Notify>,
    batch_max: usize,
    change_quiet: TimeDelta,
    /// An entry for each event that a worker is busy with.
    queues: Mutex<HashMap<String, VecDeque<Waiting>>>,
}

struct Waiting {
    operation: Operation,
    answer: oneshot::Sender<Result<Answer, Failure>>,
}

impl Capacity {
    /// The queues of a replica that follows those rules; `outbox_wake` is notified when messages were written.
    pub fn new(store: Store, reads: Reads, lifecycle: Lifecycle, outbox_wake: Arc<Notify>, rules: Rules) -> Self {
        let (batch_max, change_quiet, queues) = (rules.batch_max.max(1), rules.change_quiet, Mutex::default());
        Self { inner: Arc::new(Inner { store, reads, lifecycle, outbox_wake, batch_max, change_quiet, queues }) }
    }

    /// Takes seats for a while.
    pub async fn hold(&self, event_id: &str, ask: DecreaseCapacity) -> Result<Hold, Failure> {
        match self.submit(event_id, Operation::Hold(ask)).await? {
            Answer::Held(hold) => Ok(hold),
            other => Err(mixed_up(&other)),
        }
    }

    /// Sells the seats of a hold.
    pub async fn confirm(&self, event_id: &str, id: Uuid) -> Result<ReservationStatus, Failure> {
        reservation(self.submit(event_id, Operation::Confirm { reservation_id: id }).await?)
    }

    /// Gives seats back; with `only_expired` only those of a hold whose time is up.
    pub async fn release(&self, event_id: &str, id: Uuid, only_expired: bool) -> Result<ReservationStatus, Failure> {
        reservation(self.submit(event_id, Operation::Release { reservation_id: id, only_expired }).await?)
    }

    /// Changes the event.
    pub async fn edit(&self, event_id: &str, patch: EventPatch) -> Result<Event, Failure> {
        let (quiet, traceparent) = (self.inner.change_quiet, traceparent());
        let operation = Operation::Edit { patch: Box::new(patch), quiet, traceparent };
        match self.submit(event_id, operation).await? {
            Answer::Event(event) => Ok(*event),
            other => Err(mixed_up(&other)),
        }
    }

    /// Tells holders what changed, if that is due.
    pub async fn tell_change(&self, event_id: &str) -> Result<(), Failure> {
        self.submit(event_id, Operation::TellChange).await.map(drop)
    }

    /// Removes the event: `None`; or cancels it where a seat is taken or was ever sold: the event.
    pub async fn delete(&self, event_id: &str) -> Result<Option<Event>, Failure> {
        match self.submit(event_id, Operation::Delete { traceparent: traceparent() }).await? {
            Answer::Event(event) => Ok(Some(*event)),
            Answer::Deleted => Ok(None),
            other => Err(mixed_up(&other)),
        }
    }

    async fn submit(&self, event_id: &str, operation: Operation) -> Result<Answer, Failure> {
        let (answer, answered) = oneshot::channel();
        self.inner.enqueue(event_id, Waiting { operation, answer });
        answered.await.unwrap_or_else(|_| Err(unknown(anyhow!("the batch ended without an answer"))))
    }
}

impl Inner {
    fn enqueue(self: &Arc<Self>, event_id: &str, waiting: Waiting) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.entry(event_id.to_owned()) {
            Entry::Occupied(mut busy) => busy.get_mut().push_back(waiting),
            Entry::Vacant(idle) => {
                idle.insert(VecDeque::from([waiting]));
                let worker = Worker { inner: self.clone(), event_id: event_id.to_owned() };
                task::spawn(&self.lifecycle, "capacity_worker", worker.run());
            }
        }
    }
}

/// Works through the queue of one event. Its end, however it comes about, removes the queue.
struct Worker {
    inner: Arc<Inner>,
    event_id: String,
}

impl Worker {
    async fn run(self) {
        while let Some(batch) = self.take() {
            let (operations, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|waiting| (waiting.operation, waiting.answer)).unzip();
            let results = self.commit(operations).await;
            for (answer, result) in answers.into_iter().zip(results) {
                // Nobody waits any more where the client has gone.
                answer.send(result).ok();
            }
        }
    }

    /// What waits; `None`, and the queue removed under the same lock, when nothing does.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut queues = self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.get_mut(&self.event_id)?;
        if queue.is_empty() {
            queues.remove(&self.event_id);
            return None;
        }
        let size = queue.len().min(self.inner.batch_max);
        Some(queue.drain(..size).collect())
    }

    /// Commits operations together; one by one where together they are refused by the database, so that a single one
    /// that cannot be written does not take the others with it.
    async fn commit(&self, operations: Vec<Operation>) -> Vec<Result<Answer, Failure>> {
        let together = self.commit_batch(operations.clone()).await;
        match together {
            Err(Failure::Broken(_)) if operations.len() > 1 => {
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
        // A task of its own, for the driver's futures must not be dropped midway.
        let committing = tokio::spawn(async move { store.commit_batch(&event_id, &operations).await });
        let outcome = match tokio::time::timeout(BATCH_TIMEOUT, committing).await {
            Ok(Ok(Ok(outcome))) => outcome,
            Ok(Ok(Err(failure))) if failure.is_unavailable() => return Err(unknown(failure.into())),
            Ok(Ok(Err(failure))) => return Err(Failure::Broken(Arc::new(failure.into()))),
            Ok(Err(panicked)) => return Err(Failure::Broken(Arc::new(panicked.into()))),
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
            EventChange::Counters(_) => self.inner.reads.forget_event(&self.event_id).await,
            EventChange::Edited(_) | EventChange::Deleted => {
                self.inner.reads.forget_event(&self.event_id).await;
                self.inner.reads.forget_lists();
            }
        }
        if !outcome.messages.is_empty() {
            self.inner.outbox_wake.notify_one();
        }
        count(outcome);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a normal end the queue is gone already, or belongs to a later worker with something to do.
        if std::thread::panicking() {
            self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.event_id);
        }
    }
}

fn count(outcome: &BatchOutcome) {
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

fn reservation(answer: Answer) -> Result<ReservationStatus, Failure> {
    match answer {
        Answer::Reservation(status) => Ok(status),
        other => Err(mixed_up(&other)),
    }
}

fn unknown(cause: anyhow::Error) -> Failure {
    Failure::Unknown(Arc::new(cause))
}

fn no_answer() -> Failure {
    Failure::Broken(Arc::new(anyhow!("an operation was applied without an answer")))
}

fn mixed_up(answer: &Answer) -> Failure {
    Failure::Broken(Arc::new(anyhow!("an answer to something else: {answer:?}")))
}

fn traceparent() -> Option<String> {
    RequestContext::current().map(|context| context.trace.to_string())
}
