//! Everything that runs in the background.
//!
//! - [`relay`]: publishes the outbox; [`sweeper`]: releases expired holds and notifies holders of changes
//! - [`gauges`]: metrics of the outbox and the ledger; [`backfill`]: search keys of events of an older version
//!
//! MongoDB sessions have a loop of their own in [`platform::mongo::sessions`].

pub mod backfill;
pub mod gauges;
pub mod relay;
pub mod sweeper;

use platform::{Lifecycle, bus::Bus};

use crate::state::AppState;

/// Starts all loops that need nothing but the database and RabbitMQ.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: Bus) {
    state.store.sessions().start_heartbeat(lifecycle);
    relay::start(lifecycle, state, bus);
    sweeper::start(lifecycle, state);
    gauges::start(lifecycle, &state.store);
    backfill::start(lifecycle, &state.store);
}
