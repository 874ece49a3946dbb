//! Releases expired holds, notifies holders of changes after the quiet period, and cancels the events of deleted
//! accounts. Runs on every replica: if two replicas find the same work, the second one changes nothing.

use std::{collections::HashMap, time::Duration};

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use futures::future::join_all;
use platform::{
    ApiError, Lifecycle, failpoint,
    task::{Next, Schedule, repeat},
};
use uuid::Uuid;

use crate::{
    domain::{EventPatch, EventStatus, Refusal},
    queue::Failure,
    state::AppState,
    store::{AccountDeletion, OpenEvent},
};

/// The most holds, notifications or deletions of one round, and events of one deletion.
const BATCH_SIZE: u32 = 500;
/// The shortest pause between rounds.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause. A hold that is shorter may be released that much later; deletions wake their loop.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let notifying = state.clone();
    repeat(lifecycle, "pending_notifications", Schedule::every(INTERVAL), move || {
        let state = notifying.clone();
        async move {
            match pause(state.store.until_first_notification().await?) {
                Some(pause) => Ok(pause),
                None => notify_holders(&state).await.map(next_round),
            }
        }
    });
    let cancelling = state.clone();
    let schedule = Schedule::every(INTERVAL).or_woken_by(state.deletions.clone());
    repeat(lifecycle, "account_deletions", schedule, move || {
        let state = cancelling.clone();
        async move {
            match pause(state.store.until_first_account_deletion().await?) {
                Some(pause) => Ok(pause),
                None => cancel_events_of_deleted_accounts(&state).await.map(next_round),
            }
        }
    });
    let sweeping = state.clone();
    repeat(lifecycle, "expired_holds", Schedule::every(INTERVAL), move || {
        let state = sweeping.clone();
        async move {
            match pause(state.store.until_first_expiry().await?) {
                Some(pause) => Ok(pause),
                None => release_expired_holds(&state).await.map(next_round),
            }
        }
    });
}

/// The pause until something is due; `None` if it is due now.
fn pause(due: Option<Duration>) -> Option<Next> {
    let due = due.unwrap_or(LONGEST_PAUSE);
    (!due.is_zero()).then(|| Next::After(due.clamp(INTERVAL, LONGEST_PAUSE)))
}

fn next_round(done: usize) -> Next {
    Next::immediately_if(done >= BATCH_SIZE as usize)
}

/// One round over due notifications; returns how many there were.
pub async fn notify_holders(AppState { store, queue, .. }: &AppState) -> anyhow::Result<usize> {
    let due = store.list_due_notifications(store.now().await?, BATCH_SIZE).await?;
    for result in join_all(due.iter().map(|event_id| queue.notify_holders(event_id))).await {
        result.map_err(|failure| anyhow!("{}", ApiError::from(failure)))?;
    }
    Ok(due.len())
}

/// One round over expired holds; returns how many it released.
pub async fn release_expired_holds(AppState { store, queue, .. }: &AppState) -> anyhow::Result<usize> {
    let now = store.now().await?;
    let mut by_event: HashMap<String, Vec<Uuid>> = HashMap::new();
    for (event_id, id) in store.list_expired_holds(now, BATCH_SIZE).await? {
        by_event.entry(event_id).or_default().push(id);
    }
    if !by_event.is_empty() {
        failpoint!("event.sweeper.listed");
    }
    let releases = by_event.iter().flat_map(|(event_id, ids)| ids.iter().map(move |id| (event_id, *id)));
    let results = join_all(releases.map(|(event_id, id)| queue.release(event_id, id, true))).await;
    let released = results.iter().filter(|result| result.is_ok()).count();
    metrics::counter!("eventplatform_expired_holds_total").increment(released as u64);
    if let Some(failure) = results.into_iter().find_map(Result::err) {
        let code = ApiError::from(failure).code();
        tracing::warn!(code, released, "some expired holds were not released; trying again");
    }
    Ok(released)
}

/// One round over deleted accounts that are due; returns how many there were.
pub async fn cancel_events_of_deleted_accounts(state: &AppState) -> anyhow::Result<usize> {
    let now = state.store.now().await?;
    let due = state.store.list_due_account_deletions(now, BATCH_SIZE).await?;
    for result in join_all(due.iter().map(|deletion| cancel_events(state, *deletion, now))).await {
        result?;
    }
    Ok(due.len())
}

async fn cancel_events(state: &AppState, deletion: AccountDeletion, now: DateTime<Utc>) -> anyhow::Result<()> {
    let events = state.store.list_open_events(deletion.user_id, now, BATCH_SIZE).await?;
    for result in join_all(events.iter().map(|event| cancel_event(state, event))).await {
        result.map_err(|failure| anyhow!("{}", ApiError::from(failure)))?;
    }
    if !events.is_empty() {
        tracing::info!(organizer_id = deletion.user_id, events = events.len(), "events of a deleted account cancelled");
    }
    failpoint!("event.sweeper.events_cancelled");
    if events.len() < BATCH_SIZE as usize {
        state.store.store_events_cancelled(deletion, now).await?;
    }
    Ok(())
}

/// Cancels the event as its organizer would. A draft is deleted: cancelled, everybody could see it.
async fn cancel_event(AppState { queue, .. }: &AppState, event: &OpenEvent) -> Result<(), Failure> {
    let cancel = EventPatch { status: Some(EventStatus::Cancelled), ..EventPatch::default() };
    let done = match event.status {
        EventStatus::Draft => queue.delete(&event.id).await.map(drop),
        EventStatus::Published | EventStatus::Cancelled => queue.edit(&event.id, cancel).await.map(drop),
    };
    match done {
        // Deleted meanwhile.
        Err(Failure::Refused(Refusal::EventNotFound)) => Ok(()),
        done => done,
    }
}
