//! What handlers share.

use std::time::Duration;

use axum::extract::FromRef;
use platform::{Clock, Lifecycle, auth::Verifier};

use crate::{hub::Hub, store::Store};

/// Built once, cloned into every request.
#[derive(Clone)]
pub struct AppState {
    /// Notifications.
    pub store: Store,
    /// Listeners of this replica.
    pub hub: Hub,
    /// Checks access tokens.
    pub verifier: Verifier,
    /// The time.
    pub clock: Clock,
    /// Streams are background work that ends with the process.
    pub lifecycle: Lifecycle,
    /// How often an idle stream sends a comment.
    pub heartbeat: Duration,
}

impl FromRef<AppState> for Verifier {
    fn from_ref(state: &AppState) -> Self {
        state.verifier.clone()
    }
}
