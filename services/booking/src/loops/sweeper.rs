//! Finishes whatever was interrupted. Four loops (bookings, payments, refunds, account deletions) claim due rows under a
//! lease and enter the flows. So a service that hangs delays only what needs it, and several replicas share the work.

use std::{future::Future, time::Duration};

use futures::{StreamExt, stream};
use platform::{
    Lifecycle, failpoint,
    task::{Next, Schedule, repeat},
    telemetry::mark_gauges_updated,
};

use crate::{
    domain::{AttemptState, Booking, Payment, payment::FAILED_BEFORE_CHARGE},
    error::Interrupted,
    flow::{delete_account, expire, free, hold, pay, refund, settle},
    state::AppState,
};

const INTERVAL: Duration = Duration::from_secs(1);
const BATCH: i64 = 64;
/// Rows handled at once: a whole batch, so that no row waits longer than its lease.
const CONCURRENCY: usize = 64;
const GAUGE_INTERVAL: Duration = Duration::from_secs(5);
const PURGE_INTERVAL: Duration = Duration::from_secs(600);

pub fn start(state: &AppState, lifecycle: &Lifecycle) {
    let schedule = || Schedule::every(INTERVAL);
    let s = state.clone();
    repeat(lifecycle, "booking_sweeper", schedule(), move || next(bookings(s.clone())));
    let s = state.clone();
    let woken = schedule().or_woken_by(state.payments_wake.clone());
    repeat(lifecycle, "payment_sweeper", woken, move || next(payments(s.clone())));
    let s = state.clone();
    repeat(lifecycle, "refund_sweeper", schedule(), move || next(refunds(s.clone())));
    let s = state.clone();
    repeat(lifecycle, "account_deletions", schedule(), move || next(account_deletions(s.clone())));
    let s = state.clone();
    repeat(lifecycle, "payment_gauges", Schedule::every(GAUGE_INTERVAL), move || update_gauges(s.clone()));
    let s = state.clone();
    repeat(lifecycle, "purge", Schedule::every(PURGE_INTERVAL), move || purge(s.clone()));
}

/// After a full batch, more rows may be due.
async fn next(sweep: impl Future<Output = sqlx::Result<usize>>) -> sqlx::Result<Next> {
    let full = usize::try_from(BATCH).unwrap_or(usize::MAX);
    Ok(Next::immediately_if(sweep.await? >= full))
}

/// Sweeps a batch of due bookings; returns how many there were.
pub async fn bookings(state: AppState) -> sqlx::Result<usize> {
    let rows = state.store.claim_bookings(BATCH).await?;
    if !rows.is_empty() {
        failpoint!("booking.sweeper.bookings_claimed");
    }
    Ok(sweep("bookings", rows, |booking| sweep_booking(&state, booking)).await)
}

async fn sweep_booking(state: &AppState, booking: Booking) -> Result<(), Interrupted> {
    if booking.release_pending {
        expire::release_seats(state, &booking).await
    } else if booking.expires_at.is_none() {
        hold::give_up(state, &booking).await
    } else if booking.amount == Some(0) {
        match free::confirm(state, &booking).await? {
            Some(_) => Ok(()),
            None => Ok(state.store.postpone_booking(booking.id).await?),
        }
    } else {
        expire::expire(state, &booking).await
    }
}

/// Sweeps a batch of due payment attempts; returns how many there were.
pub async fn payments(state: AppState) -> sqlx::Result<usize> {
    let rows = state.store.claim_payments(BATCH).await?;
    if !rows.is_empty() {
        failpoint!("booking.sweeper.payments_claimed");
    }
    Ok(sweep("payments", rows, |payment| sweep_payment(&state, payment)).await)
}

async fn sweep_payment(state: &AppState, payment: Payment) -> Result<(), Interrupted> {
    match (payment.state, &payment.gateway_id) {
        (AttemptState::Started, None) => pay::fail_without_charge(state, payment.id, FAILED_BEFORE_CHARGE).await,
        (AttemptState::Started, Some(charge_id)) => {
            pay::fetch_charge(state, payment.id, charge_id, FAILED_BEFORE_CHARGE).await
        }
        (AttemptState::Succeeded, _) => settle::settle(state, payment.id).await,
        (AttemptState::Failed | AttemptState::Refunded, _) => Ok(()),
    }
}

/// Sweeps a batch of due refunds; returns how many there were.
pub async fn refunds(state: AppState) -> sqlx::Result<usize> {
    let rows = state.store.claim_refunds(BATCH).await?;
    if !rows.is_empty() {
        failpoint!("booking.sweeper.refunds_claimed");
    }
    Ok(sweep("refunds", rows, async |refund| refund::execute(&state, &refund).await).await)
}

/// Sweeps a batch of due account deletions; returns how many there were.
pub async fn account_deletions(state: AppState) -> sqlx::Result<usize> {
    let users = state.store.claim_account_deletions(BATCH).await?;
    Ok(sweep("account_deletions", users, |user_id| delete_account::delete_account(&state, user_id)).await)
}

async fn sweep<R, F, Fut>(kind: &'static str, rows: Vec<R>, work: F) -> usize
where
    F: Fn(R) -> Fut,
    Fut: Future<Output = Result<(), Interrupted>>,
{
    let count = rows.len();
    let mut results = stream::iter(rows).map(work).buffer_unordered(CONCURRENCY);
    while let Some(result) = results.next().await {
        let outcome = if result.is_ok() { "done" } else { "interrupted" };
        metrics::counter!("eventplatform_sweeps_total", "kind" => kind, "outcome" => outcome).increment(1);
        if let Err(error) = result {
            // The row is claimed again after its lease.
            tracing::error!(kind, error = format!("{:#}", anyhow::Error::new(error)), "sweep interrupted");
        }
    }
    count
}

/// Deletes old idempotency records, messages and rejected bookings.
pub async fn purge(state: AppState) -> sqlx::Result<()> {
    let store = &state.store;
    let removed = state.idempotency.purge().await? + store.purge_messages().await? + store.purge_rejected().await?;
    tracing::debug!(removed, "old rows removed");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
async fn update_gauges(state: AppState) -> sqlx::Result<()> {
    state.store.outbox().backlog().await?.record();
    let unresolved = state.store.count_unresolved_payments().await?;
    metrics::gauge!("eventplatform_unresolved_payments").set(unresolved.count as f64);
    metrics::gauge!("eventplatform_unresolved_payments_oldest_seconds").set(unresolved.oldest_seconds);
    let (refunds, releases) = state.store.count_pending().await?;
    metrics::gauge!("eventplatform_pending_refunds").set(refunds as f64);
    metrics::gauge!("eventplatform_pending_releases").set(releases as f64);
    let deletions = state.store.count_account_deletions().await?;
    metrics::gauge!("eventplatform_account_deletions_unfinished").set(deletions.count as f64);
    metrics::gauge!("eventplatform_account_deletion_oldest_seconds").set(deletions.oldest_seconds);
    mark_gauges_updated("payments");
    Ok(())
}
