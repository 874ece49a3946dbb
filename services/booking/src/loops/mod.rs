//! Everything that runs in the background. Every loop ends with the [`Lifecycle`].
//!
//! - [`sweeper`]: finishes interrupted bookings, payments, refunds and account deletions
//! - [`reconciler`]: compares bookings and payments with event-service, the gateway and the outbox
//! - [`consumer`]: handles incoming messages; [`start_relay`]: publishes the outbox
//! - [`backfill`]: adds to rows of older versions what newer ones write; [`gauges`]: counts what is unfinished
//! - [`key_reload`]: reads the ticket keys again

pub mod backfill;
pub mod consumer;
pub mod gauges;
pub mod key_reload;
pub mod reconciler;
pub mod sweeper;

use platform::{
    Lifecycle,
    bus::{Bus, Publisher},
    outbox,
};

use crate::state::AppState;

/// Starts every loop.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: &Bus) {
    sweeper::start(lifecycle, state);
    backfill::start(lifecycle, state);
    key_reload::start(lifecycle, state);
    reconciler::start(lifecycle, state);
    gauges::start(lifecycle, state);
    start_relay(lifecycle, state, bus);
    consumer::start(lifecycle, state, bus);
}

/// Publishes the table `outbox`. Whoever changes a booking writes the message in the same transaction
/// (`UnitOfWork::enqueue`) and wakes the relay.
pub fn start_relay(lifecycle: &Lifecycle, state: &AppState, bus: &Bus) {
    let (outbox, handoff) = (state.store.outbox(), state.store.handoff().clone());
    outbox::start_relay(lifecycle, outbox, Publisher::new(bus.clone()), handoff);
}
