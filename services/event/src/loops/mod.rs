//! Everything that runs in the background.
//!
//! - [`relay`]: publishes the outbox; [`consumer`]: stores that accounts were deleted
//! - [`sweeper`]: releases expired holds, notifies holders of changes, and cancels the events of deleted accounts
//! - [`gauges`]: metrics of the outbox and the ledger; [`backfill`]: search keys of events of an older version
//!
//! MongoDB sessions have a loop of their own in [`platform::mongo::sessions`].

pub mod backfill;
pub mod consumer;
pub mod gauges;
pub mod relay;
pub mod sweeper;

use platform::{Lifecycle, bus::Bus};

use crate::state::AppState;

/// Starts all loops that need nothing but the database and RabbitMQ.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: Bus) {
    state.store.sessions().start_heartbeat(lifecycle);
    consumer::start(lifecycle, state, &bus);
    relay::start(lifecycle, state, bus);
    sweeper::start(lifecycle, state);
    gauges::start(lifecycle, &state.store);
    backfill::start(lifecycle, &state.store);
}
