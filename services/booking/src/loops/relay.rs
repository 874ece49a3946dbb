//! Publishes the table `outbox` to RabbitMQ. Whoever changes a booking writes the message in the same transaction
//! (`UnitOfWork::enqueue`) and wakes the relay.

use platform::{
    Lifecycle,
    bus::{Bus, Publisher},
    outbox::start_relay,
};

use crate::state::AppState;

pub fn start(state: &AppState, bus: &Bus, lifecycle: &Lifecycle) {
    start_relay(lifecycle, state.store.outbox(), Publisher::new(bus.clone()), state.store.handoff().clone());
}
