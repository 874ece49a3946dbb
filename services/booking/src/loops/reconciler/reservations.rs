//! Compares event-service's reservations with bookings.

use std::collections::HashMap;

use anyhow::Context;
use contracts::reservation::ReservationPage;
use uuid::Uuid;

use super::{count_repaired, report};
use crate::{
    clients::event_service::CallFailure,
    domain::{
        FindingKind,
        reconciliation::{HeldReservation, ReservationVerdict, compare_reservation},
    },
    state::AppState,
    store::ScanPage,
};

/// Reservations per page.
const PAGE: u32 = 500;
/// Upper bound of Confirmed bookings per page, in case event-service lost reservations.
const MAX_BOOKINGS: i64 = 1000;

/// Compares the next page; returns the reservation that it ended at, or `None` on the last page.
pub(super) async fn compare(state: &AppState, page: &ScanPage) -> anyhow::Result<Option<String>> {
    let after: Option<Uuid> =
        page.position.as_deref().map(str::parse).transpose().context("the position of the scan")?;
    // event-service is read first: a reservation id is stored here before it is used there.
    let ReservationPage { items, next_after } = state.events.list_reservations(after, PAGE).await?;
    let ids: Vec<Uuid> = items.iter().map(|entry| entry.reservation_id).collect();
    let held = state.store.list_held_reservations(&ids, after, next_after, MAX_BOOKINGS).await?;
    let mut held: HashMap<Uuid, HeldReservation> = held.into_iter().map(|it| (it.reservation_id, it)).collect();
    for entry in &items {
        let booking = held.remove(&entry.reservation_id);
        let verdict = compare_reservation(Some(entry), booking.as_ref());
        act(state, page, verdict, entry.reservation_id, booking.as_ref()).await?;
    }
    for (reservation, booking) in &held {
        act(state, page, compare_reservation(None, Some(booking)), *reservation, Some(booking)).await?;
    }
    Ok(next_after.map(|id| id.to_string()))
}

async fn act(
    state: &AppState,
    page: &ScanPage,
    verdict: ReservationVerdict,
    reservation: Uuid,
    booking: Option<&HeldReservation>,
) -> anyhow::Result<()> {
    let report = async |kind| {
        report(state, page, kind, &reservation.to_string(), booking.map(|booking| booking.booking_id)).await
    };
    match (verdict, booking) {
        (ReservationVerdict::Finding(kind), _) => report(kind).await?,
        (ReservationVerdict::Release, Some(booking)) => {
            // A sweeper releases the seats.
            if state.store.mark_missed_release_pending(reservation).await? {
                state.sweep.notify_one();
                count_repaired("release_owed", booking.booking_id);
            }
        }
        (ReservationVerdict::Confirm, Some(booking)) => {
            match state.events.confirm(&booking.event_id, reservation).await {
                Ok(()) => count_repaired("seats_confirmed", booking.booking_id),
                Err(CallFailure::Refused { .. }) => report(FindingKind::BookingWithoutSeats).await?,
                Err(failure) => return Err(failure.into()),
            }
        }
        (ReservationVerdict::Consistent | ReservationVerdict::Release | ReservationVerdict::Confirm, _) => {}
    }
    Ok(())
}
