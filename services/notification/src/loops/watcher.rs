//! Follows the inserts of all replicas by a change stream, and wakes the streams of this replica.

use std::time::Duration;

use anyhow::ensure;
use mongodb::error::{Error, ErrorKind};
use platform::{
    Lifecycle,
    mongo::is_unavailable,
    retry::Backoff,
    task::{Progress, supervise},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{state::AppState, store::Store, streams::Hub};

/// The pauses after failures.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
/// How often streams read the database if the server refuses change streams.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How many polls come before the next attempt to open a change stream.
const POLLS: u32 = 120;

pub fn start(lifecycle: &Lifecycle, state: &AppState) {
    let watcher = Watcher { store: state.store.clone(), hub: state.hub.clone(), stop: lifecycle.stopping() };
    supervise(lifecycle, "change_stream", move |progress| watcher.clone().run(progress));
}

#[derive(Clone)]
struct Watcher {
    store: Store,
    hub: Hub,
    stop: CancellationToken,
}

impl Watcher {
    async fn run(self, progress: Progress) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let Err(error) = self.follow(&progress, &mut failures).await else { return };
            if error.downcast_ref::<Error>().is_some_and(is_refusal) {
                tracing::warn!(error = format!("{error:#}"), "change streams are refused; polling instead");
                progress.succeeded();
                self.poll().await;
            } else {
                progress.failed(&error.context("the change stream broke"));
                failures += 1;
                tokio::select! { () = self.stop.cancelled() => {}, () = sleep(BACKOFF.after(failures)) => {} }
            }
        }
    }

    /// Follows a change stream until it breaks, or until the process stops (`Ok`). Resets `failures` once it is open.
    async fn follow(&self, progress: &Progress, failures: &mut u32) -> anyhow::Result<()> {
        let mut inserts = self.store.watch_inserts().await?;
        tracing::info!("change stream opened");
        *failures = 0;
        // The change stream does not report what was stored before it was opened.
        self.hub.wake_all();
        while !self.stop.is_cancelled() {
            // Returns within seconds even if nothing is inserted, so it never has to be dropped midway.
            if let Some(insert) = inserts.next_if_any().await? {
                self.hub.wake(insert.document.user_id, insert.document.seq);
            }
            ensure!(inserts.is_alive(), "the server ended the change stream");
            progress.succeeded();
        }
        Ok(())
    }

    async fn poll(&self) {
        for _ in 0..POLLS {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(POLL_INTERVAL) => self.hub.wake_all(),
            }
        }
    }
}

/// Whether the server refuses change streams, rather than being unavailable.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(_))
        && !is_unavailable(error)
        && !error.contains_label("ResumableChangeStreamError")
}
