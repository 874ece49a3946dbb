//! Publishes the outbox.

use platform::{
    Lifecycle,
    bus::{Bus, Publisher},
    outbox,
};

use crate::state::AppState;

pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: Bus) {
    outbox::start_relay(lifecycle, state.store.clone(), Publisher::new(bus), state.outbox.clone());
}
