//! Who listens on this replica, and how they learn that there is something new for them.
//!
//! A signal carries no notification: whoever is woken reads the database, which alone knows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The most open streams of one user on one replica; a further one ends the oldest.
pub const STREAMS_PER_USER: usize = 10;

/// All listeners of this replica. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Mutex<Inner>>,
    capacity: usize,
    stopping: CancellationToken,
}

#[derive(Default)]
struct Inner {
    listeners: HashMap<i32, Vec<Listener>>,
    count: usize,
    next_id: u64,
}

struct Listener {
    id: u64,
    signal: watch::Sender<Signal>,
    over: CancellationToken,
}

/// The latest that a listener was told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Signal {
    /// There are notifications up to this one.
    seq: i64,
    /// Counts the calls to look whatever `seq` says.
    looks: u64,
}

impl Hub {
    /// A hub of up to `capacity` listeners, which are all over when `stopping` is cancelled.
    pub fn new(capacity: usize, stopping: CancellationToken) -> Self {
        Self { inner: Arc::default(), capacity, stopping }
    }

    /// Starts listening for what is new for a user; `None` when this replica is full.
    ///
    /// Ends the user's oldest listener where there are [`STREAMS_PER_USER`]: that one may be a connection that died
    /// unnoticed, and a living one resumes without loss.
    pub fn listen(&self, user_id: i32) -> Option<Subscription> {
        let mut inner = self.lock();
        let theirs = inner.listeners.get(&user_id).map_or(0, Vec::len);
        if theirs >= STREAMS_PER_USER {
            inner.remove_oldest(user_id);
        } else if inner.count >= self.capacity {
            return None;
        }
        let id = inner.next_id;
        let (sender, signal) = watch::channel(Signal::default());
        let over = self.stopping.child_token();
        inner.next_id += 1;
        inner.count += 1;
        inner.listeners.entry(user_id).or_default().push(Listener { id, signal: sender, over: over.clone() });
        report(inner.count);
        drop(inner);
        Some(Subscription { hub: self.clone(), user_id, id, signal, over, looks: 0 })
    }

    /// Says that the user's notifications reach up to `seq`.
    pub fn wake(&self, user_id: i32, seq: i64) {
        for listener in self.lock().listeners.get(&user_id).into_iter().flatten() {
            listener.signal.send_if_modified(|signal| {
                let newer = seq > signal.seq;
                signal.seq = signal.seq.max(seq);
                newer
            });
        }
    }

    /// Makes everybody look, because something may have been missed.
    pub fn wake_all(&self) {
        for listener in self.lock().listeners.values().flatten() {
            listener.signal.send_modify(|signal| signal.looks += 1);
        }
    }

    /// How many listen.
    pub fn len(&self) -> usize {
        self.lock().count
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove(&self, user_id: i32, id: u64) {
        let mut inner = self.lock();
        let Some(theirs) = inner.listeners.get_mut(&user_id) else { return };
        let before = theirs.len();
        theirs.retain(|listener| listener.id != id);
        let removed = before - theirs.len();
        if theirs.is_empty() {
            inner.listeners.remove(&user_id);
        }
        inner.count -= removed;
        report(inner.count);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held, and the map is whole after every statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove_oldest(&mut self, user_id: i32) {
        if let Some(theirs) = self.listeners.get_mut(&user_id).filter(|theirs| !theirs.is_empty()) {
            theirs.remove(0).over.cancel();
            self.count -= 1;
        }
    }
}

fn report(count: usize) {
    metrics::gauge!("eventplatform_notification_streams").set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// One listener's end; it stops listening when dropped.
pub struct Subscription {
    hub: Hub,
    user_id: i32,
    id: u64,
    signal: watch::Receiver<Signal>,
    over: CancellationToken,
    looks: u64,
}

impl Subscription {
    /// Waits until there may be something after `last`.
    pub async fn something_after(&mut self, last: i64) {
        loop {
            let signal = *self.signal.borrow_and_update();
            if signal.seq > last || signal.looks != self.looks {
                self.looks = signal.looks;
                return;
            }
            if self.signal.changed().await.is_err() {
                // The hub let this one go; `over` says so too, and is what ends the stream.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Cancelled when this listener has to end: the process stops, or a newer one took its place.
    pub fn over(&self) -> CancellationToken {
        self.over.clone()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.remove(self.user_id, self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn hub(capacity: usize) -> Hub {
        Hub::new(capacity, CancellationToken::new())
    }

    #[test]
    fn only_the_user_concerned_is_woken() {
        let hub = hub(10);
        let (mut ada, mut bob) = (hub.listen(1).unwrap(), hub.listen(2).unwrap());

        hub.wake(1, 5);

        assert!(ada.something_after(4).now_or_never().is_some());
        assert!(ada.something_after(5).now_or_never().is_none());
        assert!(bob.something_after(0).now_or_never().is_none());
    }

    #[test]
    fn a_call_to_look_wakes_everybody_once() {
        let hub = hub(10);
        let mut ada = hub.listen(1).unwrap();

        hub.wake_all();

        assert!(ada.something_after(9).now_or_never().is_some());
        assert!(ada.something_after(9).now_or_never().is_none());
    }

    #[test]
    fn one_stream_too_many_ends_the_users_oldest() {
        let hub = hub(100);
        let all: Vec<_> = (0..=STREAMS_PER_USER).map(|_| hub.listen(1).unwrap()).collect();

        let over: Vec<_> = all.iter().map(|one| one.over().is_cancelled()).collect();

        assert!(over[0] && !over[1..].contains(&true));
        assert_eq!(hub.len(), STREAMS_PER_USER);
        drop(all);
        assert!(hub.is_empty());
    }

    #[test]
    fn a_full_replica_takes_no_more_until_one_leaves() {
        let hub = hub(1);
        let first = hub.listen(1).unwrap();

        assert!(hub.listen(2).is_none());
        drop(first);

        assert!(hub.listen(2).is_some());
    }

    #[test]
    fn stopping_ends_every_listener() {
        let stopping = CancellationToken::new();
        let listener = Hub::new(10, stopping.clone()).listen(1).unwrap();

        stopping.cancel();

        assert!(listener.over().is_cancelled());
    }
}
