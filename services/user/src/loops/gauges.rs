//! Gauges of the backlog of the outbox.

use std::time::Duration;

use platform::{
    Lifecycle,
    outbox::postgres::PgOutbox,
    task::{Schedule, repeat},
    telemetry::mark_gauges_updated,
};

use crate::state::AppState;

const INTERVAL: Duration = Duration::from_secs(15);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let outbox = state.store.outbox();
    repeat(lifecycle, "outbox_gauges", Schedule::every(INTERVAL), move || update(outbox.clone()));
}

async fn update(outbox: PgOutbox) -> sqlx::Result<()> {
    outbox.backlog().await?.record();
    mark_gauges_updated("outbox");
    Ok(())
}
