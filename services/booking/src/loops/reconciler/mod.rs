//! Compares this service's rows with the other services, page by page: reservations with bookings, the gateway's
//! charges with payments, messages with transitions, tickets with bookings. What can be repaired safely is left to a sweeper or to
//! event-service; the rest is stored as a finding and counted.
//!
//! Each run compares one page; the next run continues from there, on any replica. Every step can be repeated, so two
//! replicas in the same run do no harm.

mod charges;
mod messages;
mod reservations;
mod tickets;

use std::time::Duration;

use anyhow::Context;
use futures::future::join_all;
use platform::{
    Lifecycle,
    task::{Next, Schedule, repeat},
};
use strum::{IntoStaticStr, VariantArray};
use tokio::time::Instant;

use crate::{
    domain::FindingKind,
    state::AppState,
    store::{ReconcileRun, ScanState},
};

/// The shortest pause until the next look, when another replica has just claimed a scan.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Its text is the name in the database and in metrics.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum ReconcileScan {
    /// event-service's reservations and the bookings.
    Reservations,
    /// The gateway's charges and the payments.
    Charges,
    /// The messages in the outbox and the bookings.
    Messages,
    /// The tickets and the bookings.
    Tickets,
}

pub fn start(state: &AppState, lifecycle: &Lifecycle) {
    let (state, schedule) = (state.clone(), Schedule::every(state.policy.reconcile_interval));
    repeat(lifecycle, "reconciler", schedule, move || reconcile(state.clone()));
}

/// Runs the scans that are due, and sleeps until the next one is: only a claim moves its time.
async fn reconcile(state: AppState) -> anyhow::Result<Next> {
    let interval = state.policy.reconcile_interval;
    let names: Vec<_> = ReconcileScan::VARIANTS.iter().map(ReconcileScan::into_str).collect();
    let scans = state.store.claim_runs(&names, interval).await?;
    let mut next = interval;
    let mut runs = Vec::new();
    for scan in scans {
        match scan {
            ScanState::Claimed(run) => runs.push(run),
            ScanState::DueIn(pause) => next = next.min(pause.max(MIN_PAUSE)),
        }
    }
    let claimed_at = Instant::now();
    let results = join_all(runs.iter().map(|run| run_and_count(&state, run))).await;
    results.into_iter().collect::<anyhow::Result<()>>().context("nothing reconciled")?;
    Ok(Next::After(next.saturating_sub(claimed_at.elapsed())))
}

async fn run_and_count(state: &AppState, run: &ReconcileRun) -> anyhow::Result<()> {
    let result = compare(state, run).await;
    let (scan, outcome) = (run.scan.clone(), if result.is_ok() { "done" } else { "interrupted" });
    metrics::counter!("eventplatform_reconciliation_rounds_total", "patrol" => scan, "outcome" => outcome).increment(1);
    result
}

/// Runs a scan over its next page if it is due; returns whether it was.
pub async fn run_scan(state: &AppState, scan: ReconcileScan) -> anyhow::Result<bool> {
    let claimed = state.store.claim_runs(&[scan.into_str()], state.policy.reconcile_interval).await?;
    let Some(ScanState::Claimed(run)) = claimed.first() else { return Ok(false) };
    compare(state, run).await.map(|()| true)
}

/// Compares the next page of a claimed scan.
async fn compare(state: &AppState, run: &ReconcileRun) -> anyhow::Result<()> {
    let scan = ReconcileScan::VARIANTS.iter().find(|scan| scan.into_str() == run.scan).context("an unknown scan")?;
    let position = match scan {
        ReconcileScan::Reservations => reservations::compare(state, run).await?,
        ReconcileScan::Charges => charges::compare(state, run).await?,
        ReconcileScan::Messages => messages::compare(state, run).await?,
        ReconcileScan::Tickets => tickets::compare(state, run).await?,
    };
    Ok(state.store.finish_run(run, position.as_deref()).await?)
}

/// Stores and logs a mismatch that cannot be repaired.
async fn report(
    state: &AppState,
    run: &ReconcileRun,
    kind: FindingKind,
    subject: &str,
    booking_id: Option<i32>,
) -> sqlx::Result<()> {
    tracing::error!(kind = kind.into_str(), subject, booking_id, "reconciliation found a mismatch");
    state.store.store_finding(&run.scan, kind, subject, booking_id).await
}

fn count_healed(kind: &'static str, booking_id: i32) {
    tracing::warn!(kind, booking_id, "healed");
    metrics::counter!("eventplatform_reconciliation_healed_total", "kind" => kind).increment(1);
}
