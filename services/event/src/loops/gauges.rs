//! Gauges: the backlog of the outbox, and the events whose counters differ from the ledger.

use std::{collections::HashSet, sync::Arc, time::Duration};

use platform::{
    Lifecycle,
    task::{Schedule, repeat},
    telemetry::mark_gauges_updated,
};
use tokio::sync::Mutex;

use crate::{
    state::AppState,
    store::{LedgerPage, Store},
};

const OUTBOX_INTERVAL: Duration = Duration::from_secs(15);
const LEDGER_INTERVAL: Duration = Duration::from_secs(60);
/// Events compared per round.
const LEDGER_PAGE: u32 = 200;

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let outbox_store = state.store.clone();
    repeat(lifecycle, "outbox_gauges", Schedule::every(OUTBOX_INTERVAL), move || outbox(outbox_store.clone()));
    let (store, scan) = (state.store.clone(), Arc::<Mutex<LedgerScan>>::default());
    repeat(lifecycle, "ledger_check", Schedule::every(LEDGER_INTERVAL), move || ledger(store.clone(), scan.clone()));
}

/// Sets the gauges of the outbox.
async fn outbox(store: Store) -> mongodb::error::Result<()> {
    store.outbox_backlog().await?.record();
    mark_gauges_updated("outbox");
    Ok(())
}

/// Sets `eventplatform_capacity_drift`, the number of events that differ from the ledger.
async fn ledger(store: Store, scan: Arc<Mutex<LedgerScan>>) -> mongodb::error::Result<()> {
    scan.lock().await.step(&store, LEDGER_PAGE).await?;
    mark_gauges_updated("ledger");
    Ok(())
}

/// Compares all events with the ledger, page by page and over and over, and remembers which differ.
#[derive(Debug, Default)]
pub struct LedgerScan {
    after: Option<String>,
    mismatched: HashSet<String>,
}

impl LedgerScan {
    /// Compares the next `limit` events; returns how many events differed when they were last compared. After an error
    /// the next step compares the same events.
    pub async fn step(&mut self, store: &Store, limit: u32) -> mongodb::error::Result<usize> {
        let LedgerPage { checked, mismatches } = store.check_ledger_page(self.after.clone(), limit).await?;
        // The last event of a full page; a page that is not full reaches the end.
        let last = checked.last().filter(|_| checked.len() >= limit as usize).cloned();
        // This also forgets deleted events: they are in the compared range, but no longer found.
        let (after, until) = (self.after.take(), last.as_ref());
        self.mismatched
            .retain(|id| after.as_ref().is_some_and(|after| id <= after) || until.is_some_and(|last| id > last));
        for mismatch in mismatches {
            tracing::error!(?mismatch, "the counters of an event are not the sums over its reservations");
            self.mismatched.insert(mismatch.event_id);
        }
        self.after = last;
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("eventplatform_capacity_drift").set(self.mismatched.len() as f64);
        Ok(self.mismatched.len())
    }
}
