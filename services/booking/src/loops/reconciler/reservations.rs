//! event-service's reservations against bookings.

use std::collections::HashMap;

use anyhow::Context;
use contracts::reservation::ReservationPage;
use uuid::Uuid;

use super::{found, healed};
use crate::{
    clients::event_service::CallFailure,
    domain::{
        FindingKind,
        reconciliation::{Holding, SeatsVerdict, judge_seats},
    },
    state::AppState,
    store::Round,
};

/// Reservations of one round.
const PAGE: u32 = 500;
/// Confirmed bookings of one round at most, should event-service have lost theirs.
const MAX_BOOKINGS: i64 = 1000;

/// Compares the next page; gives the reservation that it ended at, or `None` at the end.
pub(super) async fn compare(state: &AppState, round: &Round) -> anyhow::Result<Option<String>> {
    let after: Option<Uuid> = round.position.as_deref().map(str::parse).transpose().context("the patrol's position")?;
    // The neighbour first: what it lists was written here before.
    let ReservationPage { items, next_after } = state.events.list_reservations(after, PAGE).await?;
    let ids: Vec<Uuid> = items.iter().map(|entry| entry.reservation_id).collect();
    let holdings = state.store.list_holdings(&ids, after, next_after, MAX_BOOKINGS).await?;
    let mut holdings: HashMap<Uuid, Holding> = holdings.into_iter().map(|it| (it.reservation_id, it)).collect();
    for entry in &items {
        let holding = holdings.remove(&entry.reservation_id);
        let verdict = judge_seats(Some(entry), holding.as_ref());
        act(state, round, verdict, entry.reservation_id, holding.as_ref()).await?;
    }
    for (reservation, holding) in &holdings {
        act(state, round, judge_seats(None, Some(holding)), *reservation, Some(holding)).await?;
    }
    Ok(next_after.map(|id| id.to_string()))
}

async fn act(
    state: &AppState,
    round: &Round,
    verdict: SeatsVerdict,
    reservation: Uuid,
    holding: Option<&Holding>,
) -> anyhow::Result<()> {
    let found = async |kind| {
        found(state, round, kind, &reservation.to_string(), holding.map(|holding| holding.booking_id)).await
    };
    match (verdict, holding) {
        (SeatsVerdict::Found(kind), _) => found(kind).await?,
        (SeatsVerdict::Release, Some(holding)) => {
            // The sweeper does the rest.
            if state.store.owe_forgotten_release(reservation).await? {
                healed("release_owed", holding.booking_id);
            }
        }
        (SeatsVerdict::Confirm, Some(holding)) => match state.events.confirm(&holding.event_id, reservation).await {
            Ok(()) => healed("seats_confirmed", holding.booking_id),
            Err(CallFailure::Refused { .. }) => found(FindingKind::BookingWithoutSeats).await?,
            Err(failure @ CallFailure::Unknown(_)) => return Err(failure.into()),
        },
        (SeatsVerdict::Sound | SeatsVerdict::Release | SeatsVerdict::Confirm, _) => {}
    }
    Ok(())
}
