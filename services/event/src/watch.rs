//! Gauges: what waits in the outbox, and whether the counters of events are what their reservations add up to.

use std::{collections::HashSet, sync::Arc, time::Duration};

use platform::{
    Lifecycle,
    task::{Schedule, repeat},
    telemetry::mark_gauges_updated,
};
use tokio::sync::Mutex;

use crate::store::{LedgerPage, Store};

/// How often the outbox is looked at.
const OUTBOX_EVERY: Duration = Duration::from_secs(10);
/// How often some events are compared with the ledger.
const LEDGER_EVERY: Duration = Duration::from_secs(30);
/// Events compared at a time: all get their turn, and no round costs much.
const LEDGER_PAGE: u32 = 200;

/// Starts to update the gauges.
pub fn start(lifecycle: &Lifecycle, store: &Store) {
    let outbox_store = store.clone();
    repeat(lifecycle, "outbox_gauges", Schedule::every(OUTBOX_EVERY), move || outbox(outbox_store.clone()));
    let (store, patrol) = (store.clone(), Arc::<Mutex<Patrol>>::default());
    repeat(lifecycle, "ledger_check", Schedule::every(LEDGER_EVERY), move || ledger(store.clone(), patrol.clone()));
}

/// Sets the gauges of the outbox.
async fn outbox(store: Store) -> mongodb::error::Result<()> {
    store.outbox_backlog().await?.record();
    mark_gauges_updated("outbox");
    Ok(())
}

/// Sets `eventplatform_capacity_drift`, the number of events that differ from the ledger.
async fn ledger(store: Store, patrol: Arc<Mutex<Patrol>>) -> mongodb::error::Result<()> {
    patrol.lock().await.step(&store, LEDGER_PAGE).await?;
    mark_gauges_updated("ledger");
    Ok(())
}

/// Goes through all events, some at a time, and remembers which differ.
#[derive(Debug, Default)]
pub struct Patrol {
    after: Option<String>,
    drifting: HashSet<String>,
}

impl Patrol {
    /// Compares the next `limit` events; returns how many events differed when last compared. After an error the next
    /// step compares the same ones.
    pub async fn step(&mut self, store: &Store, limit: u32) -> mongodb::error::Result<usize> {
        let LedgerPage { checked, differences } = store.check_ledger_page(self.after.clone(), limit).await?;
        // The last event of a full page; a page that is not full reaches the end.
        let last = checked.last().filter(|_| checked.len() >= limit as usize).cloned();
        // This also drops deleted events: they are in the range compared, but no longer found.
        let (after, until) = (self.after.take(), last.as_ref());
        self.drifting
            .retain(|id| after.as_ref().is_some_and(|after| id <= after) || until.is_some_and(|last| id > last));
        for difference in differences {
            tracing::error!(?difference, "the counters of an event are not what its reservations add up to");
            self.drifting.insert(difference.event_id);
        }
        self.after = last;
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("eventplatform_capacity_drift").set(self.drifting.len() as f64);
        Ok(self.drifting.len())
    }
}
