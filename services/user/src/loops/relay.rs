//! Publishes the outbox, and exports its backlog as metrics.

use std::time::Duration;

use platform::{
    Lifecycle,
    bus::{Bus, Publisher},
    outbox::{postgres::PgOutbox, start_relay},
    task::{Schedule, repeat},
    telemetry::mark_gauges_updated,
};

use crate::state::AppState;

const GAUGES_INTERVAL: Duration = Duration::from_secs(15);

pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: &Bus) {
    let outbox = state.store.outbox();
    start_relay(lifecycle, outbox.clone(), Publisher::new(bus.clone()), state.outbox.clone());
    repeat(lifecycle, "outbox_gauges", Schedule::every(GAUGES_INTERVAL), move || export_backlog(outbox.clone()));
}

async fn export_backlog(outbox: PgOutbox) -> sqlx::Result<()> {
    outbox.backlog().await?.record();
    mark_gauges_updated("outbox");
    Ok(())
}
