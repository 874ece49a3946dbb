//! Compares this service's rows with the other services, page by page: reservations with bookings, the gateway's
//! charges with payments, messages with transitions, tickets with bookings. What can be repaired safely is left to a
//! sweeper or to event-service; the rest is stored as a finding and counted.
//!
//! Each of these comparisons is a scan. It compares a page at a time and continues on any replica; all pages together
//! are a cycle. Every comparison can be repeated, so two replicas at the same page do no harm.

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
    store::{PageClaim, ScanPage},
};

/// The shortest pause until the next look, when another replica has just claimed a scan.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Its text is the name in the table `patrols` and, as the label `patrol`, in metrics.
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

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let (state, schedule) = (state.clone(), Schedule::every(state.policy.reconcile_interval));
    repeat(lifecycle, "reconciler", schedule, move || reconcile(state.clone()));
}

/// Compares the next page of each scan that is due, and sleeps until the next one is: only a claim moves its time.
async fn reconcile(state: AppState) -> anyhow::Result<Next> {
    let interval = state.policy.reconcile_interval;
    let names: Vec<_> = ReconcileScan::VARIANTS.iter().map(ReconcileScan::into_str).collect();
    let claims = state.store.claim_pages(&names, interval).await?;
    let mut next = interval;
    let mut pages = Vec::new();
    for claim in claims {
        match claim {
            PageClaim::Claimed(page) => pages.push(page),
            PageClaim::DueIn(pause) => next = next.min(pause.max(MIN_PAUSE)),
        }
    }
    let claimed_at = Instant::now();
    let results = join_all(pages.iter().map(|page| compare_and_count(&state, page))).await;
    results.into_iter().collect::<anyhow::Result<()>>().context("a reconciliation scan was interrupted")?;
    Ok(Next::After(next.saturating_sub(claimed_at.elapsed())))
}

async fn compare_and_count(state: &AppState, page: &ScanPage) -> anyhow::Result<()> {
    let result = compare(state, page).await;
    let (scan, outcome) = (page.scan.clone(), if result.is_ok() { "done" } else { "interrupted" });
    metrics::counter!("eventplatform_reconciliation_rounds_total", "patrol" => scan, "outcome" => outcome).increment(1);
    result
}

/// Compares the next page of a scan if it is due; returns whether it was.
pub async fn compare_next_page(state: &AppState, scan: ReconcileScan) -> anyhow::Result<bool> {
    let claimed = state.store.claim_pages(&[scan.into_str()], state.policy.reconcile_interval).await?;
    let Some(PageClaim::Claimed(page)) = claimed.first() else { return Ok(false) };
    compare(state, page).await.map(|()| true)
}

/// Compares a claimed page.
async fn compare(state: &AppState, page: &ScanPage) -> anyhow::Result<()> {
    let scan = ReconcileScan::VARIANTS.iter().find(|scan| scan.into_str() == page.scan).context("an unknown scan")?;
    let position = match scan {
        ReconcileScan::Reservations => reservations::compare(state, page).await?,
        ReconcileScan::Charges => charges::compare(state, page).await?,
        ReconcileScan::Messages => messages::compare(state, page).await?,
        ReconcileScan::Tickets => tickets::compare(state, page).await?,
    };
    Ok(state.store.finish_page(page, position.as_deref()).await?)
}

/// Stores and logs a mismatch that cannot be repaired.
async fn report(
    state: &AppState,
    page: &ScanPage,
    kind: FindingKind,
    subject: &str,
    booking_id: Option<i32>,
) -> sqlx::Result<()> {
    tracing::error!(kind = kind.into_str(), subject, booking_id, "reconciliation found a mismatch");
    state.store.store_finding(&page.scan, kind, subject, booking_id).await
}

fn count_repaired(kind: &'static str, booking_id: i32) {
    tracing::warn!(kind, booking_id, "repaired a mismatch");
    metrics::counter!("eventplatform_reconciliation_healed_total", "kind" => kind).increment(1);
}
