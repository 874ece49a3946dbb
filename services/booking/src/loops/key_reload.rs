//! Reads the folder of the ticket keys again, so that keys are rotated without a restart.

use platform::{
    Lifecycle,
    key_ring::RELOAD_EVERY,
    task::{Schedule, repeat},
};

use crate::state::AppState;

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let keys = state.ticket_keys.clone();
    repeat(lifecycle, "ticket_keys", Schedule::every(RELOAD_EVERY), move || {
        let keys = keys.clone();
        async move { keys.reload().map(drop) }
    });
}
