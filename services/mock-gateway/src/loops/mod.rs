//! Everything that runs in the background.
//!
//! - [`webhooks`]: delivers events; [`settlement`]: settles late payments; [`purge`]: deletes old idempotency keys

pub mod purge;
pub mod settlement;
pub mod webhooks;

use platform::Lifecycle;

use crate::state::AppState;

/// Starts every loop.
pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    webhooks::start(lifecycle, state);
    settlement::start(lifecycle, state);
    purge::start(lifecycle, state);
}
