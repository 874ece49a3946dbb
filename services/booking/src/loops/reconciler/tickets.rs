//! Compares tickets with the bookings that they belong to. One query reads both, so that no change comes in between.

use anyhow::Context;

use super::report;
use crate::{domain::FindingKind, state::AppState, store::ScanPage};

/// Bookings per page.
const PAGE: i64 = 500;

/// Compares the next page; returns the booking that it ended at, or `None` on the last page.
pub(super) async fn compare(state: &AppState, page: &ScanPage) -> anyhow::Result<Option<String>> {
    let after = page.position.as_deref().map_or(Ok(0), str::parse).context("the position of the scan")?;
    let audits = state.store.list_ticket_audits(after, PAGE).await?;
    for audit in audits.iter().filter(|audit| !audit.is_consistent()) {
        let booking_id = audit.booking_id;
        report(state, page, FindingKind::TicketsDiffer, &booking_id.to_string(), Some(booking_id)).await?;
    }
    let full = i64::try_from(audits.len()).is_ok_and(|count| count >= PAGE);
    Ok(audits.last().filter(|_| full).map(|audit| audit.booking_id.to_string()))
}
