//! Follows what other replicas store, by a change stream, and wakes this replica's listeners.

use std::time::Duration;

use anyhow::ensure;
use mongodb::error::{Error, ErrorKind};
use platform::{
    Lifecycle,
    mongo::is_unavailable,
    task::{Progress, supervise},
};
use tokio_util::sync::CancellationToken;

use crate::{hub::Hub, store::Store};

/// The first pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Without change streams everybody looks this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many such looks until change streams are tried again.
const LOOKS: u32 = 120;

/// Starts to wake the listeners of `hub` for notifications that any replica stores.
pub fn start(lifecycle: &Lifecycle, store: &Store, hub: &Hub) {
    let (store, hub, stop) = (store.clone(), hub.clone(), lifecycle.stopping());
    supervise(lifecycle, "change_stream", move |progress| watch(store.clone(), hub.clone(), stop.clone(), progress));
}

async fn watch(store: Store, hub: Hub, stop: CancellationToken, progress: Progress) {
    let mut pause = PAUSE;
    while !stop.is_cancelled() {
        let Err(error) = follow(&store, &hub, &stop, &progress, &mut pause).await else { return };
        if error.downcast_ref::<Error>().is_some_and(is_refused) {
            tracing::warn!(error = format!("{error:#}"), "no change streams here; looking twice a second instead");
            progress.succeeded();
            look_often(&hub, &stop).await;
        } else {
            progress.failed(&error.context("the change stream broke"));
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}

/// Opens a change stream and follows it until it breaks, or until `stop` (`Ok`).
async fn follow(
    store: &Store,
    hub: &Hub,
    stop: &CancellationToken,
    progress: &Progress,
    pause: &mut Duration,
) -> anyhow::Result<()> {
    let mut arrivals = store.watch_arrivals().await?;
    tracing::info!("following what is stored");
    *pause = PAUSE;
    // What was stored before the stream was open is found by looking.
    hub.wake_all();
    while !stop.is_cancelled() {
        // Answers within a second when nothing arrives, so it is never dropped midway.
        if let Some(arrival) = arrivals.next_if_any().await? {
            hub.wake(arrival.user_id(), arrival.seq());
        }
        ensure!(arrivals.is_alive(), "the server ended the change stream");
        progress.succeeded();
    }
    Ok(())
}

/// Whether the server answers, and says no.
fn is_refused(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(_))
        && !is_unavailable(error)
        && !error.contains_label("ResumableChangeStreamError")
}

async fn look_often(hub: &Hub, stop: &CancellationToken) {
    for _ in 0..LOOKS {
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(LOOK_EVERY) => hub.wake_all() }
    }
}
