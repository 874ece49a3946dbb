//! Compares messages in the outbox with the transitions of bookings. Messages that left the outbox are covered by the
//! counts of queues and dead letters.

use anyhow::Context;

use super::report;
use crate::{domain::FindingKind, state::AppState, store::ScanPage};

/// Bookings per page.
const PAGE: i64 = 500;

/// Compares the next page, newest bookings first; returns the booking that it ended at, or `None` once bookings are too
/// old for their messages to be stored.
pub(super) async fn compare(state: &AppState, page: &ScanPage) -> anyhow::Result<Option<String>> {
    let before = page.position.as_deref().map_or(Ok(i32::MAX), str::parse).context("the position of the scan")?;
    let audits = state.store.list_message_audits(before, PAGE).await?;
    for audit in audits.iter().filter(|audit| !audit.is_consistent()) {
        let booking_id = audit.booking_id;
        report(state, page, FindingKind::MessageMismatch, &booking_id.to_string(), Some(booking_id)).await?;
    }
    let full = i64::try_from(audits.len()).is_ok_and(|count| count >= PAGE);
    Ok(audits.last().filter(|last| full && last.recent).map(|audit| audit.booking_id.to_string()))
}
