//! Messages against the bookings that they tell of. What left the outbox is RabbitMQ's and notification-service's to
//! keep: their queues and dead letters are counted.

use anyhow::Context;

use super::found;
use crate::{domain::FindingKind, state::AppState, store::Round};

/// Bookings of one round.
const PAGE: i64 = 500;

/// Compares the next page, newest first; gives the booking that it ended at, or `None` where messages are too old.
pub(super) async fn compare(state: &AppState, round: &Round) -> anyhow::Result<Option<String>> {
    let before = round.position.as_deref().map_or(Ok(i32::MAX), str::parse).context("the patrol's position")?;
    let tellings = state.store.list_tellings(before, PAGE).await?;
    for telling in tellings.iter().filter(|telling| !telling.is_sound()) {
        let booking_id = telling.booking_id;
        found(state, round, FindingKind::WronglyTold, &booking_id.to_string(), Some(booking_id)).await?;
    }
    let full = i64::try_from(tellings.len()).is_ok_and(|count| count >= PAGE);
    Ok(tellings.last().filter(|last| full && last.recent).map(|telling| telling.booking_id.to_string()))
}
