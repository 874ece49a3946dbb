//! Publishes the outbox.

use platform::{
    bus::{Bus, Publisher},
    outbox,
    server::Lifecycle,
};

use crate::state::AppState;

pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: Bus) {
    outbox::start_relay(lifecycle, state.store.clone(), Publisher::new(bus), state.outbox_wake.clone());
}
