//! Everything that runs in the background.
//!
//! - [`relay`]: publishes the outbox; [`purge`]: deletes old rows and frees idle memory
//! - [`key_reload`]: reads the signing keys again; [`first_admin`]: creates the first admin

pub mod first_admin;
pub mod key_reload;
pub mod purge;
pub mod relay;

use platform::{Lifecycle, bus::Bus};

use self::first_admin::FirstAdmin;
use crate::state::AppState;

/// Starts every loop.
pub fn start(lifecycle: &Lifecycle, state: &AppState, bus: &Bus, first_admin: Option<&FirstAdmin>) {
    relay::start(lifecycle, state, bus);
    key_reload::start(lifecycle, state);
    purge::start(lifecycle, state);
    if let Some(admin) = first_admin {
        first_admin::start(lifecycle, state, admin);
    }
}
