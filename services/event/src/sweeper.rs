//! Ends expired holds and tells holders of changes that have waited long enough, on every replica. If two replicas find
//! the same one, the second changes nothing.

use std::{collections::HashMap, time::Duration};

use futures::future::join_all;
use platform::{
    Lifecycle,
    task::{Next, Schedule, repeat},
};
use uuid::Uuid;

use crate::{capacity::Capacity, store::Store};

/// Holds looked at in one round.
const ROUND: u32 = 500;
/// The pause between rounds.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts to end expired holds, and to tell holders of changes.
pub fn start(lifecycle: &Lifecycle, store: &Store, capacity: &Capacity) {
    let (s, c) = (store.clone(), capacity.clone());
    repeat(lifecycle, "untold_changes", Schedule::every(PAUSE), move || {
        let (store, capacity) = (s.clone(), c.clone());
        async move {
            let told = tell_changes(&store, &capacity).await?;
            anyhow::Ok(Next::immediately_if(told >= ROUND as usize))
        }
    });
    let (store, capacity) = (store.clone(), capacity.clone());
    repeat(lifecycle, "expired_holds", Schedule::every(PAUSE), move || {
        let (store, capacity) = (store.clone(), capacity.clone());
        async move {
            let ended = sweep(&store, &capacity).await?;
            anyhow::Ok(Next::immediately_if(ended >= ROUND as usize))
        }
    });
}

/// One round over the changes that holders are due to be told of; returns how many there were.
pub async fn tell_changes(store: &Store, capacity: &Capacity) -> anyhow::Result<usize> {
    let due = store.list_due_changes(store.now().await?, ROUND).await?;
    for result in join_all(due.iter().map(|event_id| capacity.tell_change(event_id))).await {
        result.map_err(platform::ApiError::from).map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok(due.len())
}

/// One round over the expired holds; returns how many it ended.
pub async fn sweep(store: &Store, capacity: &Capacity) -> anyhow::Result<usize> {
    let now = store.now().await?;
    let mut by_event: HashMap<String, Vec<Uuid>> = HashMap::new();
    for (event_id, id) in store.list_expired(now, ROUND).await? {
        by_event.entry(event_id).or_default().push(id);
    }
    if !by_event.is_empty() {
        platform::failpoint!("event.sweeper.listed");
    }
    let releases = by_event.iter().flat_map(|(event_id, ids)| ids.iter().map(move |id| (event_id, *id)));
    let results = join_all(releases.map(|(event_id, id)| capacity.release(event_id, id, true))).await;
    let ended = results.iter().filter(|result| result.is_ok()).count();
    metrics::counter!("eventplatform_expired_holds_total").increment(ended as u64);
    if let Some(failure) = results.into_iter().find_map(Result::err) {
        let error = platform::ApiError::from(failure);
        tracing::warn!(code = error.code(), ended, "some expired holds not swept; trying again");
    }
    Ok(ended)
}
