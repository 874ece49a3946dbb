//! Reads the folder of the signing keys again, so that keys are rotated without a restart.

use platform::{
    Lifecycle,
    key_ring::RELOAD_EVERY,
    task::{Schedule, repeat},
};

use crate::state::AppState;

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let signing = state.signing.clone();
    repeat(lifecycle, "signing_keys", Schedule::every(RELOAD_EVERY), move || {
        let signing = signing.clone();
        async move { signing.reload().await.map(drop) }
    });
}
