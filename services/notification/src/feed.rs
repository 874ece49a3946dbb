//! One open event stream: reads what is new for its user and hands it to the response, at the reader's pace.

use std::time::Duration;

use axum::response::sse::Event;
use contracts::identity::Language;
use platform::auth::Revocations;
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{Counters, Notification},
    hub::Subscription,
    routes::notifications::NotificationResponse,
    store::Store,
};

/// Events that wait for a slow reader; the rest stays in the database.
pub(crate) const BUFFER: usize = 16;
/// Notifications read at once.
const BATCH: u32 = 100;
/// How long a stream stays open while the database cannot be read.
const MAX_OUTAGE: Duration = Duration::from_secs(10);
/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);

/// The writing end of one stream. Runs in a task of its own.
pub(crate) struct Feed {
    /// Where notifications are.
    pub(crate) store: Store,
    /// Whose they are.
    pub(crate) user_id: i32,
    /// The reader's language.
    pub(crate) language: Language,
    /// Up to which place the reader has them.
    pub(crate) last: i64,
    /// Says that there may be more.
    pub(crate) subscription: Subscription,
    /// To the response.
    pub(crate) events: mpsc::Sender<Event>,
    /// When the reader's access token expires.
    pub(crate) deadline: Instant,
    /// The reader's session.
    pub(crate) session_id: String,
    /// Tells when the session ends before the token expires.
    pub(crate) revocations: Revocations,
    /// Since when the database cannot be read; `None` if it can.
    pub(crate) failing_since: Option<Instant>,
    /// How often a comment is sent and the database is looked at without being woken.
    pub(crate) heartbeat: Duration,
}

/// Why a stream is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Over {
    /// The access token expired, or the session ended: refresh the session, then connect again.
    SessionExpired,
    /// This replica stops, the database does not answer, or the user has opened too many streams: connect again.
    Closed,
    /// The reader has gone.
    Gone,
}

/// Data of the event `ready`, which every stream begins with.
#[derive(Serialize)]
struct Ready {
    last_seq: i64,
    unread_count: i64,
}

/// Data of the event `end`, which a stream ends with where there is still time to say so.
#[derive(Serialize)]
struct End {
    reason: &'static str,
}

impl Feed {
    /// Writes until the session ends, the process stops or the reader goes.
    pub(crate) async fn run(mut self, counters: Counters) {
        let over = self.write(counters).await;
        let reason = match over {
            Over::SessionExpired => "session_expired",
            Over::Closed => "closed",
            Over::Gone => return,
        };
        // A reader so slow that its buffer is full learns it from the end itself.
        self.events.try_send(event("end", &End { reason })).ok();
    }

    async fn write(&mut self, counters: Counters) -> Over {
        let ready = Ready { last_seq: counters.last_seq, unread_count: counters.unread };
        let first = event("ready", &ready).id(self.last.to_string()).retry(RETRY);
        if let Err(over) = self.send(first).await {
            return over;
        }
        let mut heartbeat = interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(over) = self.send_what_is_new().await {
                return over;
            }
            let ended = self.revocations.ended(&self.session_id);
            let ending = ending(self.subscription.over(), self.deadline, ended, &self.events);
            let beat = tokio::select! {
                biased;
                over = ending => return over,
                () = self.subscription.something_after(self.last) => false,
                _ = heartbeat.tick() => true,
            };
            if beat && let Err(over) = self.send(Event::default().comment("still here")).await {
                return over;
            }
        }
    }

    async fn send_what_is_new(&mut self) -> Result<(), Over> {
        loop {
            let reading = self.store.list_notifications_after(self.user_id, self.last, BATCH);
            let ended = self.revocations.ended(&self.session_id);
            let found = tokio::select! {
                biased;
                over = ending(self.subscription.over(), self.deadline, ended, &self.events) => return Err(over),
                found = reading => found,
            };
            let notifications = match found {
                Ok(notifications) => {
                    self.failing_since = None;
                    notifications
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read new notifications");
                    let since = *self.failing_since.get_or_insert(Instant::now());
                    // The reader connects again and continues after its last event. It does not notice a short outage:
                    // the next wake or heartbeat reads again.
                    return if since.elapsed() < MAX_OUTAGE { Ok(()) } else { Err(Over::Closed) };
                }
            };
            let full = notifications.len() == BATCH as usize;
            for notification in notifications {
                let seq = notification.seq;
                self.send(notification_event(notification, self.language)).await?;
                self.last = seq;
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn send(&self, event: Event) -> Result<(), Over> {
        let ended = self.revocations.ended(&self.session_id);
        tokio::select! {
            biased;
            over = ending(self.subscription.over(), self.deadline, ended, &self.events) => Err(over),
            sent = self.events.send(event) => sent.map_err(|_| Over::Gone),
        }
    }
}

async fn ending(
    over: CancellationToken,
    deadline: Instant,
    ended: impl Future<Output = ()>,
    events: &mpsc::Sender<Event>,
) -> Over {
    tokio::select! {
        () = over.cancelled() => Over::Closed,
        () = sleep_until(deadline) => Over::SessionExpired,
        () = ended => Over::SessionExpired,
        () = events.closed() => Over::Gone,
    }
}

fn notification_event(notification: Notification, language: Language) -> Event {
    let seq = notification.seq;
    event("notification", &NotificationResponse::new(notification, language)).id(seq.to_string())
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let json = serde_json::to_string(data).expect("an event is plain data");
    Event::default().event(name).data(json)
}
