//! Handles messages about changed and cancelled events and deleted accounts. The effects of a message commit in batches;
//! a redelivered message repeats none of them.

use contracts::message::{BOOKING_QUEUES, EventFact, HolderFact, Message, UserFact};
use platform::{
    Lifecycle,
    bus::{self, Bus, Failure, Received},
    failpoint,
    postgres::is_unavailable,
};
use uuid::Uuid;

use crate::{state::AppState, store::Holder};

/// Bookings or holders per transaction.
const BATCH: i64 = 500;
/// Messages per queue that are handled at once.
const CONCURRENCY: u16 = 4;

/// Starts one consumer for each queue of this service, and the gauge of their dead letters.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: &Bus) {
    bus::start_counting_dead_letters(lifecycle, bus.clone(), &BOOKING_QUEUES);
    for queue in BOOKING_QUEUES {
        let state = state.clone();
        bus::start_consumer(lifecycle, bus.clone(), queue, CONCURRENCY, move |received| {
            let state = state.clone();
            async move { handle(&state, received).await }
        });
    }
}

/// Handles a message. Idempotent by message id.
pub async fn handle(state: &AppState, received: Received) -> Result<(), Failure> {
    let Received { id, message } = received;
    if state.store.is_processed(id).await.map_err(failure)? {
        return Ok(());
    }
    match message {
        Message::EventCancelled(event) => cancel_event(state, id, event).await.map_err(failure)?,
        Message::EventChanged(event) => change_event(state, id, event).await.map_err(failure)?,
        Message::UserDeleted(user) => store_account_deletion(state, user).await.map_err(failure)?,
        other => return Err(Failure::Unsupported(anyhow::anyhow!("{} is not handled here", other.routing_key()))),
    }
    state.store.store_processed(id).await.map_err(failure)?;
    failpoint!("booking.consumer.processed");
    Ok(())
}

fn failure(error: sqlx::Error) -> Failure {
    if is_unavailable(&error) { Failure::Unavailable(error.into()) } else { Failure::Failed(error.into()) }
}

/// Ends every booking of the event, then notifies everybody who had one.
async fn cancel_event(state: &AppState, id: Uuid, event: EventFact) -> sqlx::Result<()> {
    loop {
        let mut unit = state.store.begin().await?;
        let (ended, cancelled) = unit.cancel_event_bookings(&event, BATCH).await?;
        for booking in &cancelled {
            unit.enqueue(&Message::BookingCancelled(booking.fact(state.clock.now()))).await?;
        }
        unit.commit().await?;
        failpoint!("booking.consumer.event_cancelled");
        state.sweep.notify_one();
        metrics::counter!("eventplatform_bookings_total", "outcome" => "cancelled_with_event").increment(ended as u64);
        if ended == 0 {
            break;
        }
    }
    let mut after = 0;
    loop {
        let holders = state.store.list_former_holders(&event.event_id, after, BATCH).await?;
        let Some(last) = holders.last() else { return Ok(()) };
        after = last.user_id;
        notify_holders(state, id, &holders, Message::HolderEventCancelled, &event).await?;
    }
}

/// Stores the deletion; a sweeper carries it out.
async fn store_account_deletion(state: &AppState, user: UserFact) -> sqlx::Result<()> {
    state.store.insert_account_deletion(&user).await?;
    state.deletions.notify_one();
    failpoint!("booking.consumer.account_deleted");
    Ok(())
}

/// Stores the change, then notifies everybody whose seats were held before it, unless a later message will do that.
async fn change_event(state: &AppState, id: Uuid, event: EventFact) -> sqlx::Result<()> {
    state.store.store_event_change(&event).await?;
    failpoint!("booking.consumer.changed");
    if event.unannounced {
        return Ok(());
    }
    let mut after = 0;
    loop {
        let holders = state.store.list_holders(&event, after, BATCH).await?;
        let Some(last) = holders.last() else { return Ok(()) };
        after = last.user_id;
        notify_holders(state, id, &holders, Message::HolderEventChanged, &event).await?;
    }
}

/// Enqueues a message per holder. Its id is derived from the message id and the user id, so repeating it has no effect.
async fn notify_holders(
    state: &AppState,
    id: Uuid,
    holders: &[Holder],
    message: impl Fn(HolderFact) -> Message,
    event: &EventFact,
) -> sqlx::Result<()> {
    let mut unit = state.store.begin().await?;
    for Holder { user_id, booking_id } in holders.iter().copied() {
        let fact = HolderFact { user_id, booking_id, event: event.clone() };
        unit.enqueue_as(Uuid::new_v5(&id, &user_id.to_be_bytes()), &message(fact)).await?;
    }
    unit.commit().await?;
    failpoint!("booking.consumer.notified");
    Ok(())
}
