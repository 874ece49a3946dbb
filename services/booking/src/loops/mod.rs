//! Everything that runs in the background. Every loop ends with the [`Lifecycle`].
//!
//! - [`sweeper`]: finishes interrupted bookings, payments, refunds and account deletions
//! - [`reconciler`]: compares bookings and payments with event-service, the gateway and the outbox
//! - [`relay`]: publishes the outbox; [`consumer`]: handles incoming messages
//! - [`backfill`]: adds to rows of older versions what newer ones write; [`gauges`]: counts what is unfinished
//! - [`key_reload`]: reads the ticket keys again

pub mod backfill;
pub mod consumer;
pub mod gauges;
pub mod key_reload;
pub mod reconciler;
pub mod relay;
pub mod sweeper;

use platform::{Lifecycle, bus::Bus};

use crate::state::AppState;

pub fn start(state: &AppState, bus: &Bus, lifecycle: &Lifecycle) {
    sweeper::start(state, lifecycle);
    backfill::start(state, lifecycle);
    key_reload::start(state, lifecycle);
    reconciler::start(state, lifecycle);
    gauges::start(state, lifecycle);
    relay::start(state, bus, lifecycle);
    consumer::start(state, bus, lifecycle);
}
