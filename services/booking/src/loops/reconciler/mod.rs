//! Compares this service's rows with the other services, page by page: reservations with bookings, the gateway's
//! charges with payments, messages with transitions. What can be repaired safely is left to a sweeper or to
//! event-service; the rest is stored as a finding and counted.
//!
//! Each run compares one page; the next run continues from there, on any replica. Every step can be repeated, so two
//! replicas in the same run do no harm.

mod charges;
mod messages;
mod reservations;

use std::time::Duration;

use anyhow::Context;
use platform::{
    Lifecycle,
    task::{Schedule, repeat},
    telemetry::mark_gauges_updated,
};
use strum::{IntoStaticStr, VariantArray};

use crate::{domain::FindingKind, state::AppState, store::ReconcileRun};

/// The longest pause between two checks whether a scan is due.
const INTERVAL: Duration = Duration::from_secs(5);

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
}

impl ReconcileScan {
    fn task(self) -> &'static str {
        match self {
            Self::Reservations => "reservation_patrol",
            Self::Charges => "charge_patrol",
            Self::Messages => "message_patrol",
        }
    }
}

pub fn start(state: &AppState, lifecycle: &Lifecycle) {
    for &scan in ReconcileScan::VARIANTS {
        let (state, schedule) = (state.clone(), Schedule::every(state.policy.reconcile_interval.min(INTERVAL)));
        repeat(lifecycle, scan.task(), schedule, move || reconcile(state.clone(), scan));
    }
    let (state, schedule) = (state.clone(), Schedule::every(INTERVAL));
    repeat(lifecycle, "reconciliation_gauges", schedule, move || update_gauges(state.clone()));
}

async fn reconcile(state: AppState, scan: ReconcileScan) -> anyhow::Result<()> {
    let result = run_scan(&state, scan).await;
    let outcome = match &result {
        Ok(true) => "done",
        Ok(false) => return Ok(()),
        Err(_) => "interrupted",
    };
    let scan = scan.into_str();
    metrics::counter!("eventplatform_reconciliation_rounds_total", "patrol" => scan, "outcome" => outcome).increment(1);
    result.map(drop).context("nothing reconciled")
}

/// Runs a scan over its next page if it is due; returns whether it was.
pub async fn run_scan(state: &AppState, scan: ReconcileScan) -> anyhow::Result<bool> {
    let claimed = state.store.claim_run(scan.into_str(), state.policy.reconcile_interval).await?;
    let Some(run) = claimed else { return Ok(false) };
    let position = match scan {
        ReconcileScan::Reservations => reservations::compare(state, &run).await?,
        ReconcileScan::Charges => charges::compare(state, &run).await?,
        ReconcileScan::Messages => messages::compare(state, &run).await?,
    };
    state.store.finish_run(&run, position.as_deref()).await?;
    Ok(true)
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
    state.store.store_finding(run.scan, kind, subject, booking_id).await
}

fn count_healed(kind: &'static str, booking_id: i32) {
    tracing::warn!(kind, booking_id, "healed");
    metrics::counter!("eventplatform_reconciliation_healed_total", "kind" => kind).increment(1);
}

/// Updates the gauges, which are the same on every replica.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
async fn update_gauges(state: AppState) -> sqlx::Result<()> {
    for kind in FindingKind::VARIANTS {
        let count = state.store.count_findings(*kind).await?;
        metrics::gauge!("eventplatform_reconciliation_findings", "kind" => kind.into_str()).set(count as f64);
    }
    for (scan, seconds) in state.store.list_scan_lags().await? {
        metrics::gauge!("eventplatform_reconciliation_lag_seconds", "patrol" => scan).set(seconds);
    }
    mark_gauges_updated("reconciliation");
    Ok(())
}
