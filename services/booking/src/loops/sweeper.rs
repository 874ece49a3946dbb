//! Finishes whatever was interrupted. A loop claims the sagas that are due and starts a run for each, so that a service
//! that hangs delays only what needs it. Several replicas share the work by leases. A second loop, which the first one
//! wakes, carries out account deletions.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use platform::{
    Lifecycle, failpoint,
    task::{self, Next, Schedule, repeat},
};
use tokio::sync::Semaphore;

use crate::{
    domain::saga::SagaRecord,
    error::Interrupted,
    flow::{Run, delete_account},
    state::AppState,
    store::{ClaimedSaga, NextDue},
};

/// The longest time between two searches for sagas that are due. Whoever makes one due sooner in this process wakes the
/// sweeper; other replicas learn of it at their next search.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Sagas that are claimed at once.
const BATCH: usize = 64;
/// Runs of this replica at the same time.
const MAX_RUNS: usize = 256;
/// The pause while that many run, or while others run what is due.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// The longest time between two claims of account deletions, unless the saga sweeper wakes this loop.
const DELETION_HEARTBEAT: Duration = Duration::from_secs(600);
/// The pause between two attempts of account deletions that are under way.
const DELETION_PAUSE: Duration = Duration::from_secs(1);
const PURGE_INTERVAL: Duration = Duration::from_secs(600);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let (s, tasks, permits) = (state.clone(), lifecycle.clone(), Arc::new(Semaphore::new(MAX_RUNS)));
    let schedule = Schedule::every(HEARTBEAT).or_woken_by(state.sweep.clone());
    repeat(lifecycle, "saga_sweeper", schedule, move || start_due_runs(s.clone(), tasks.clone(), permits.clone()));
    let s = state.clone();
    let schedule = Schedule::every(DELETION_HEARTBEAT).or_woken_by(state.deletions.clone());
    repeat(lifecycle, "account_deletions", schedule, move || delete_accounts(s.clone()));
    let s = state.clone();
    repeat(lifecycle, "purge", Schedule::every(PURGE_INTERVAL), move || purge(s.clone()));
}

/// Starts a run for each saga that is due, and waits for none of them.
async fn start_due_runs(state: AppState, lifecycle: Lifecycle, permits: Arc<Semaphore>) -> sqlx::Result<Next> {
    let limit = permits.available_permits().min(BATCH);
    if limit == 0 {
        return Ok(Next::After(BUSY_PAUSE));
    }
    let NextDue { saga, deletion } = state.store.next_due().await?;
    if deletion.is_some_and(|due| due.is_zero()) {
        state.deletions.notify_one();
    }
    if !saga.is_some_and(|due| due.is_zero()) {
        let next = [saga, deletion].into_iter().flatten().filter(|due| !due.is_zero()).min();
        return Ok(Next::After(next.unwrap_or(HEARTBEAT).min(HEARTBEAT)));
    }
    let due = claim(&state, limit).await?;
    if due.is_empty() {
        // Another replica was faster.
        return Ok(Next::After(BUSY_PAUSE));
    }
    for (claimed, record) in due {
        let (state, permit) = (state.clone(), permits.clone().acquire_owned().await);
        task::spawn(&lifecycle, "saga_run", async move {
            continue_saga(&state, claimed, record).await;
            drop(permit);
        });
    }
    Ok(Next::Immediately)
}

/// Runs a batch of due sagas; returns how many there were.
pub async fn run_due_sagas(state: &AppState) -> sqlx::Result<usize> {
    let due = claim(state, BATCH).await?;
    let count = due.len();
    stream::iter(due)
        .map(|(claimed, record)| continue_saga(state, claimed, record))
        .buffer_unordered(BATCH)
        .collect::<()>()
        .await;
    Ok(count)
}

async fn claim(state: &AppState, limit: usize) -> sqlx::Result<Vec<(ClaimedSaga, SagaRecord)>> {
    let claimed = state.store.claim_sagas(i64::try_from(limit).unwrap_or(i64::MAX)).await?;
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i32> = claimed.iter().map(|claimed| claimed.booking_id).collect();
    let records = state.store.list_sagas(&ids).await?;
    failpoint!("booking.sweeper.claimed");
    let with_claim = |record: SagaRecord| {
        let claimed = claimed.iter().find(|claimed| claimed.booking_id == record.booking.id)?;
        Some((*claimed, record))
    };
    Ok(records.into_iter().filter_map(with_claim).collect())
}

async fn continue_saga(state: &AppState, claimed: ClaimedSaga, record: SagaRecord) {
    count("sagas", Run::resume(state, record, claimed).drive().await);
}

/// Continues account deletions that are due.
async fn delete_accounts(state: AppState) -> sqlx::Result<Next> {
    let count = account_deletions(&state).await?;
    Ok(if count == 0 { Next::Later } else { Next::After(DELETION_PAUSE) })
}

/// Continues a batch of due account deletions; returns how many there were.
pub async fn account_deletions(state: &AppState) -> sqlx::Result<usize> {
    let users = state.store.claim_account_deletions(i64::try_from(BATCH).unwrap_or(i64::MAX)).await?;
    let count = users.len();
    stream::iter(users)
        .map(|user_id| async move { self::count("account_deletions", delete_account::delete_account(state, user_id).await) })
        .buffer_unordered(BATCH)
        .collect::<()>()
        .await;
    Ok(count)
}

fn count(kind: &'static str, result: Result<(), Interrupted>) {
    let outcome = if result.is_ok() { "done" } else { "interrupted" };
    metrics::counter!("eventplatform_sweeps_total", "kind" => kind, "outcome" => outcome).increment(1);
    if let Err(error) = result {
        // The row is claimed again after its lease.
        tracing::error!(kind, error = format!("{:#}", anyhow::Error::new(error)), "sweep interrupted");
    }
}

/// Deletes old idempotency records, messages, rejected bookings and door links.
pub async fn purge(state: AppState) -> sqlx::Result<()> {
    let store = &state.store;
    let mut removed = state.idempotency.purge().await? + store.purge_messages().await?;
    removed += store.purge_rejected().await? + store.purge_door_links().await?;
    tracing::debug!(removed, "old rows removed");
    Ok(())
}
