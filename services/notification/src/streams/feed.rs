//! The task of one event stream: reads new notifications of its user, and passes them on as fast as the client reads.

use std::time::Duration;

use platform::auth::Revocations;
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::hub::Subscription;
use crate::{
    domain::{Counters, Notification},
    store::Store,
};

/// Events buffered for a slow client; further notifications stay in the database.
pub const BUFFER_SIZE: usize = 16;
/// Notifications per query.
const BATCH_SIZE: u32 = 100;
/// How long a stream stays open while the database cannot be read.
const MAX_OUTAGE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub enum StreamEvent {
    /// The first event. The stream continues after notification `after`.
    Ready {
        after: i64,
        counters: Counters,
    },
    Notification(Box<Notification>),
    Heartbeat,
    /// The last event, left out if the client reads too slowly.
    End(EndReason),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The access token expired, or the session ended: the client should refresh the session, then reconnect.
    SessionExpired,
    /// This replica stops, the database is unavailable, or the user opened too many streams: the client should
    /// reconnect.
    Closed,
}

/// Why a feed stops.
enum Stop {
    End(EndReason),
    Disconnected,
}

/// The client of a stream.
pub struct Connection {
    pub events: mpsc::Sender<StreamEvent>,
    /// When the access token expires.
    pub deadline: Instant,
    pub session_id: String,
    /// Sessions that ended before their access token expired.
    pub revocations: Revocations,
    /// Cancelled when the hub closes the stream.
    pub closed: CancellationToken,
}

impl Connection {
    /// Waits until the stream has to stop.
    async fn stopped(&self) -> Stop {
        tokio::select! {
            () = self.closed.cancelled() => Stop::End(EndReason::Closed),
            () = sleep_until(self.deadline) => Stop::End(EndReason::SessionExpired),
            () = self.revocations.ended(&self.session_id) => Stop::End(EndReason::SessionExpired),
            () = self.events.closed() => Stop::Disconnected,
        }
    }

    async fn send(&self, event: StreamEvent) -> Result<(), Stop> {
        tokio::select! {
            biased;
            stop = self.stopped() => Err(stop),
            sent = self.events.send(event) => sent.map_err(|_| Stop::Disconnected),
        }
    }
}

/// One stream.
pub struct Feed {
    pub store: Store,
    pub user_id: i32,
    /// The sequence number of the last notification that the client has.
    pub last_seq: i64,
    pub subscription: Subscription,
    pub connection: Connection,
    /// How often a comment is sent, and the database is read even without a wake-up.
    pub heartbeat_interval: Duration,
}

impl Feed {
    /// Sends events until the session ends, the process stops or the client disconnects.
    pub async fn run(mut self, counters: Counters) {
        if let Err(Stop::End(reason)) = self.send_events(counters).await {
            // If the buffer is full, the client only sees that the stream ends.
            self.connection.events.try_send(StreamEvent::End(reason)).ok();
        }
    }

    async fn send_events(&mut self, counters: Counters) -> Result<(), Stop> {
        self.connection.send(StreamEvent::Ready { after: self.last_seq, counters }).await?;
        let mut heartbeat = interval_at(Instant::now() + self.heartbeat_interval, self.heartbeat_interval);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing_since = None;
        loop {
            self.send_new_notifications(&mut failing_since).await?;
            let heartbeat_due = tokio::select! {
                biased;
                stop = self.connection.stopped() => return Err(stop),
                () = self.subscription.woken(self.last_seq) => false,
                _ = heartbeat.tick() => true,
            };
            if heartbeat_due {
                self.connection.send(StreamEvent::Heartbeat).await?;
            }
        }
    }

    /// Sends notifications until none are left. A failure of the database ends the stream only after [`MAX_OUTAGE`]: the
    /// next wake-up or heartbeat reads again.
    async fn send_new_notifications(&mut self, failing_since: &mut Option<Instant>) -> Result<(), Stop> {
        loop {
            let read = tokio::select! {
                biased;
                stop = self.connection.stopped() => return Err(stop),
                read = self.store.list_notifications_after(self.user_id, self.last_seq, BATCH_SIZE) => read,
            };
            let notifications = match read {
                Ok(notifications) => notifications,
                Err(error) => {
                    tracing::warn!(%error, "cannot read new notifications");
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    // A client that reconnects continues after its last event.
                    return if since.elapsed() < MAX_OUTAGE { Ok(()) } else { Err(Stop::End(EndReason::Closed)) };
                }
            };
            *failing_since = None;
            let is_full = notifications.len() == BATCH_SIZE as usize;
            for notification in notifications {
                let seq = notification.seq;
                self.connection.send(StreamEvent::Notification(Box::new(notification))).await?;
                self.last_seq = seq;
            }
            if !is_full {
                return Ok(());
            }
        }
    }
}
