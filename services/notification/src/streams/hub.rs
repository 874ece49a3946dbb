//! The subscriptions of this replica's streams.
//!
//! A wake-up carries no notification: streams read those from the database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::Refusal;

/// The most open streams of one user on one replica. One more closes the oldest.
pub const MAX_STREAMS_PER_USER: usize = 10;

/// All subscriptions of this replica. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Mutex<Inner>>,
    capacity: usize,
    stopping: CancellationToken,
}

#[derive(Default)]
struct Inner {
    subscribers: HashMap<i32, Vec<Subscriber>>,
    count: usize,
    next_id: u64,
}

struct Subscriber {
    id: u64,
    signal: watch::Sender<Signal>,
    closed: CancellationToken,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Signal {
    /// The newest sequence number that this replica knows of.
    seq: i64,
    /// How many times all subscribers were woken, whatever `seq` says.
    wake_alls: u64,
}

impl Hub {
    /// A hub for up to `capacity` subscriptions. Cancelling `stopping` closes them all.
    pub fn new(capacity: usize, stopping: CancellationToken) -> Self {
        Self { inner: Arc::default(), capacity, stopping }
    }

    /// Subscribes to new notifications of a user. Fails with [`Refusal::TooManyStreams`] if this replica is full.
    ///
    /// If the user already has [`MAX_STREAMS_PER_USER`], the oldest is closed: its connection may be dead, and if it is
    /// not, its client reconnects without loss.
    pub fn subscribe(&self, user_id: i32) -> Result<Subscription, Refusal> {
        let mut inner = self.lock();
        if inner.subscribers.get(&user_id).map_or(0, Vec::len) >= MAX_STREAMS_PER_USER {
            inner.close_oldest(user_id);
        } else if inner.count >= self.capacity {
            return Err(Refusal::TooManyStreams);
        }
        let id = inner.next_id;
        let (sender, signal) = watch::channel(Signal::default());
        let closed = self.stopping.child_token();
        inner.next_id += 1;
        inner.count += 1;
        inner.subscribers.entry(user_id).or_default().push(Subscriber { id, signal: sender, closed: closed.clone() });
        report(inner.count);
        drop(inner);
        Ok(Subscription { hub: self.clone(), user_id, id, signal, closed, wake_alls: 0 })
    }

    /// Wakes the streams of a user that have not yet read up to `seq`.
    pub fn wake(&self, user_id: i32, seq: i64) {
        for subscriber in self.lock().subscribers.get(&user_id).into_iter().flatten() {
            subscriber.signal.send_if_modified(|signal| {
                let is_newer = seq > signal.seq;
                signal.seq = signal.seq.max(seq);
                is_newer
            });
        }
    }

    /// Wakes all streams, because they may have missed something.
    pub fn wake_all(&self) {
        for subscriber in self.lock().subscribers.values().flatten() {
            subscriber.signal.send_modify(|signal| signal.wake_alls += 1);
        }
    }

    pub fn len(&self) -> usize {
        self.lock().count
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove(&self, user_id: i32, id: u64) {
        let mut inner = self.lock();
        let Some(subscribers) = inner.subscribers.get_mut(&user_id) else { return };
        let before = subscribers.len();
        subscribers.retain(|subscriber| subscriber.id != id);
        let removed = before - subscribers.len();
        if subscribers.is_empty() {
            inner.subscribers.remove(&user_id);
        }
        inner.count -= removed;
        report(inner.count);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is locked, and the map is consistent after every statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn close_oldest(&mut self, user_id: i32) {
        if let Some(subscribers) = self.subscribers.get_mut(&user_id).filter(|subscribers| !subscribers.is_empty()) {
            subscribers.remove(0).closed.cancel();
            self.count -= 1;
        }
    }
}

fn report(count: usize) {
    metrics::gauge!("eventplatform_notification_streams").set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// Wakes one stream. Dropping it unsubscribes.
pub struct Subscription {
    hub: Hub,
    user_id: i32,
    id: u64,
    signal: watch::Receiver<Signal>,
    closed: CancellationToken,
    wake_alls: u64,
}

impl Subscription {
    /// Waits until there may be notifications after `last_seq`.
    pub async fn woken(&mut self, last_seq: i64) {
        loop {
            let signal = *self.signal.borrow_and_update();
            if signal.seq > last_seq || signal.wake_alls != self.wake_alls {
                self.wake_alls = signal.wake_alls;
                return;
            }
            if self.signal.changed().await.is_err() {
                // The hub closed this subscription; `closed` ends the stream.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Cancelled when the process stops, or when a newer stream of the user took the place of this one.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
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
    fn only_streams_of_the_user_are_woken() {
        let hub = hub(10);
        let (mut alice, mut bob) = (hub.subscribe(1).unwrap(), hub.subscribe(2).unwrap());

        hub.wake(1, 5);

        assert!(alice.woken(4).now_or_never().is_some());
        assert!(alice.woken(5).now_or_never().is_none());
        assert!(bob.woken(0).now_or_never().is_none());
    }

    #[test]
    fn wake_all_wakes_each_stream_once() {
        let hub = hub(10);
        let mut alice = hub.subscribe(1).unwrap();

        hub.wake_all();

        assert!(alice.woken(9).now_or_never().is_some());
        assert!(alice.woken(9).now_or_never().is_none());
    }

    #[test]
    fn one_stream_too_many_closes_the_oldest_of_the_user() {
        let hub = hub(100);
        let all: Vec<_> = (0..=MAX_STREAMS_PER_USER).map(|_| hub.subscribe(1).unwrap()).collect();

        let closed: Vec<_> = all.iter().map(|subscription| subscription.closed().is_cancelled()).collect();

        assert!(closed[0] && !closed[1..].contains(&true));
        assert_eq!(hub.len(), MAX_STREAMS_PER_USER);
        drop(all);
        assert!(hub.is_empty());
    }

    #[test]
    fn a_full_replica_refuses_streams_until_one_ends() {
        let hub = hub(1);
        let first = hub.subscribe(1).unwrap();

        assert!(hub.subscribe(2).is_err());
        drop(first);

        assert!(hub.subscribe(2).is_ok());
    }

    #[test]
    fn stopping_closes_all_streams() {
        let stopping = CancellationToken::new();
        let subscription = Hub::new(10, stopping.clone()).subscribe(1).unwrap();

        stopping.cancel();

        assert!(subscription.closed().is_cancelled());
    }
}
