//! Gauges of what is unfinished and of what the reconciler found. They are the same on every replica.

use std::time::Duration;

use platform::{
    Lifecycle,
    task::{Schedule, repeat},
    telemetry::mark_gauges_updated,
};
use strum::VariantArray;

use crate::{domain::FindingKind, state::AppState};

const INTERVAL: Duration = Duration::from_secs(15);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let state = state.clone();
    repeat(lifecycle, "booking_gauges", Schedule::every(INTERVAL), move || update(state.clone()));
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
async fn update(state: AppState) -> sqlx::Result<()> {
    let measured = state.store.measure().await?;
    measured.backlog.record();
    metrics::gauge!("eventplatform_unresolved_payments").set(measured.unresolved_payments as f64);
    metrics::gauge!("eventplatform_unresolved_payments_oldest_seconds").set(measured.oldest_payment_seconds);
    metrics::gauge!("eventplatform_pending_refunds").set(measured.pending_refunds as f64);
    metrics::gauge!("eventplatform_pending_releases").set(measured.pending_releases as f64);
    metrics::gauge!("eventplatform_account_deletions_unfinished").set(measured.unfinished_deletions as f64);
    metrics::gauge!("eventplatform_account_deletion_oldest_seconds").set(measured.oldest_deletion_seconds);
    for kind in FindingKind::VARIANTS {
        let count = measured.findings.iter().filter(|found| *found == kind.into_str()).count();
        metrics::gauge!("eventplatform_reconciliation_findings", "kind" => kind.into_str()).set(count as f64);
    }
    for (scan, seconds) in measured.scan_lags {
        metrics::gauge!("eventplatform_reconciliation_lag_seconds", "patrol" => scan).set(seconds);
    }
    mark_gauges_updated("bookings");
    Ok(())
}
