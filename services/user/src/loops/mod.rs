//! Everything that runs in the background.
//!
//! - [`gauges`]: the backlog of the outbox; [`purge`]: deletes old rows and frees idle memory
//! - [`key_reload`]: reads the signing keys again; [`first_admin`]: creates the first admin

pub mod first_admin;
pub mod gauges;
pub mod key_reload;
pub mod purge;

use platform::{
    Lifecycle,
    bus::{Bus, Publisher},
    outbox,
};

use self::first_admin::FirstAdmin;
use crate::state::AppState;

/// Starts every loop.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: &Bus, first_admin: Option<&FirstAdmin>) {
    outbox::start_relay(lifecycle, state.store.outbox(), Publisher::new(bus.clone()), state.outbox.clone());
    gauges::start(lifecycle, state);
    key_reload::start(lifecycle, state);
    purge::start(lifecycle, state);
    if let Some(admin) = first_admin {
        first_admin::start(lifecycle, state, admin);
    }
}
