//! Everything that runs in the background.
//!
//! - [`consumer`]: stores that accounts were deleted; [`start_relay`]: publishes the outbox
//! - [`sweeper`]: releases expired holds, notifies holders of changes, and cancels the events of deleted accounts
//! - [`gauges`]: metrics of the outbox and the ledger; [`backfill`]: search keys of events of an older version
//!
//! MongoDB sessions have a loop of their own in [`platform::mongo::sessions`].

pub mod backfill;
pub mod consumer;
pub mod gauges;
pub mod sweeper;

use platform::{
    Lifecycle,
    bus::{Bus, Publisher},
    outbox,
};

use crate::state::AppState;

/// Starts every loop.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: &Bus) {
    state.store.sessions().start_heartbeat(lifecycle);
    consumer::start(lifecycle, state, bus);
    start_relay(lifecycle, state, bus);
    sweeper::start(lifecycle, state);
    gauges::start(lifecycle, state);
    backfill::start(lifecycle, state);
}

/// Publishes the collection `outbox`.
pub fn start_relay(lifecycle: &Lifecycle, state: &AppState, bus: &Bus) {
    outbox::start_relay(lifecycle, state.store.clone(), Publisher::new(bus.clone()), state.outbox.clone());
}
