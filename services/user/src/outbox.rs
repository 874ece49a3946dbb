//! Messages out: the relay from the table `outbox` to RabbitMQ, and the gauges of what waits there. Whoever deletes an
//! account writes the message in the same transaction and wakes the relay.

use std::time::Duration;

use platform::{
    Lifecycle,
    bus::{Bus, Publisher},
    outbox::{postgres::PgOutbox, start_relay},
    task::{Schedule, repeat},
    telemetry::mark_gauges_updated,
};

use crate::state::AppState;

/// How often the gauges are set.
const GAUGES_EVERY: Duration = Duration::from_secs(10);

/// Starts the relay and the gauges; they end with `lifecycle`.
pub fn start(state: &AppState, bus: &Bus, lifecycle: &Lifecycle) {
    let publisher = Publisher::new(bus.clone());
    start_relay(lifecycle, state.store.outbox(), publisher, state.relay_wake.clone());
    let outbox = state.store.outbox();
    repeat(lifecycle, "outbox_gauges", Schedule::every(GAUGES_EVERY), move || show_backlog(outbox.clone()));
}

async fn show_backlog(outbox: PgOutbox) -> sqlx::Result<()> {
    outbox.backlog().await?.record();
    mark_gauges_updated("outbox");
    Ok(())
}
