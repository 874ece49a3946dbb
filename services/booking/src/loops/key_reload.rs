//! Reads the folder of the ticket keys again, so that keys are rotated without a restart.

use std::time::Duration;

use anyhow::Context;
use platform::{
    Lifecycle,
    task::{Schedule, repeat},
};

use crate::state::AppState;

const INTERVAL: Duration = Duration::from_secs(10);

pub fn start(state: &AppState, lifecycle: &Lifecycle) {
    let state = state.clone();
    repeat(lifecycle, "ticket_keys", Schedule::every(INTERVAL), move || {
        let AppState { ticket_keys, .. } = state.clone();
        async move {
            if ticket_keys.reload().context("cannot reload the ticket keys; the current ones stay in use")? {
                let kids: Vec<_> = ticket_keys.published().into_iter().map(|key| key.kid).collect();
                tracing::info!(?kids, "ticket keys changed");
            }
            anyhow::Ok(())
        }
    });
}
