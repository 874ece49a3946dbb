//! What handlers and loops share.

use std::time::Duration;

use axum::extract::FromRef;
use platform::{Clock, Lifecycle, auth::Verifier};

use crate::{store::Store, streams::Hub};

/// Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    /// The open streams of this replica.
    pub hub: Hub,
    pub verifier: Verifier,
    pub clock: Clock,
    /// Streams are tasks that end with the process.
    pub lifecycle: Lifecycle,
    /// How often an idle stream sends a comment.
    pub heartbeat_interval: Duration,
}

impl FromRef<AppState> for Verifier {
    fn from_ref(state: &AppState) -> Self {
        state.verifier.clone()
    }
}
