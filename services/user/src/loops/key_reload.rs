//! Reads the folder of the signing keys again, so that keys are rotated without a restart.

use std::time::Duration;

use anyhow::Context;
use platform::{
    Lifecycle,
    task::{Schedule, repeat},
};

use crate::state::AppState;

const INTERVAL: Duration = Duration::from_secs(10);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let state = state.clone();
    repeat(lifecycle, "signing_keys", Schedule::every(INTERVAL), move || reload_keys(state.clone()));
}

async fn reload_keys(AppState { signing, .. }: AppState) -> anyhow::Result<()> {
    if signing.reload().await.context("cannot reload the signing keys; the current ones stay in use")? {
        let kids: Vec<_> = signing.published().into_iter().map(|key| key.kid).collect();
        tracing::info!(?kids, "signing keys changed");
    }
    Ok(())
}
