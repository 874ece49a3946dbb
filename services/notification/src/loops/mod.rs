//! Everything that runs in the background.
//!
//! - [`consumer`]: stores notifications; [`watcher`]: wakes streams; [`purge`]: deletes what older versions left

pub mod consumer;
pub mod purge;
pub mod watcher;

use platform::bus::Bus;

use crate::state::AppState;

pub fn start(state: &AppState, bus: &Bus, consumer_concurrency: u16) {
    state.store.sessions().start_heartbeat(&state.lifecycle);
    watcher::start(state);
    consumer::start(state, bus, consumer_concurrency);
    purge::start(state);
}
