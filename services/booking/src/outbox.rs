//! Messages out: the relay from the table `outbox` to RabbitMQ. Whoever changes a booking writes the message in the
//! same transaction (`store::Unit::tell`) and wakes the relay.

use platform::{
    Lifecycle,
    bus::{Bus, Publisher},
    outbox::start_relay,
};

use crate::state::AppState;

/// Starts the relay; it ends with `lifecycle`.
pub fn start(state: &AppState, bus: &Bus, lifecycle: &Lifecycle) {
    let publisher = Publisher::new(bus.clone());
    start_relay(lifecycle, state.store.outbox(), publisher, state.relay_wake.clone());
}
