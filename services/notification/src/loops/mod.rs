//! Everything that runs in the background.
//!
//! - [`consumer`]: stores notifications; [`watcher`]: wakes streams; [`purge`]: deletes what older versions left

pub mod consumer;
pub mod purge;
pub mod watcher;

use platform::{Lifecycle, bus::Bus};

use crate::state::AppState;

/// Starts every loop.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: &Bus, consumer_concurrency: u16) {
    state.store.sessions().start_heartbeat(lifecycle);
    watcher::start(lifecycle, state);
    consumer::start(lifecycle, state, bus, consumer_concurrency);
    purge::start(lifecycle, state);
}
