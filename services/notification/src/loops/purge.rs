//! Deletes notifications that replicas of older versions stored for deleted accounts.

use std::time::Duration;

use platform::{
    Lifecycle,
    task::{Schedule, repeat},
};

use crate::state::AppState;

const INTERVAL: Duration = Duration::from_secs(600);

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let store = state.store.clone();
    repeat(lifecycle, "deleted_accounts", Schedule::every(INTERVAL), move || {
        let store = store.clone();
        async move { store.purge_deleted_accounts().await }
    });
}
