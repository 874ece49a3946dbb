//! Events on their way from the transactions of this process to its deliveries.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc},
    time::Instant,
};

use crate::store::events::DueEvent;

/// Events that wait in this process. More are left to a later claim.
const MAX_WAITING: usize = 10_000;
/// An event that waited longer is left to a later claim: its lease might expire during the delivery.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct WebhookQueue {
    sender: mpsc::Sender<(Instant, DueEvent)>,
    receiver: Arc<Mutex<mpsc::Receiver<(Instant, DueEvent)>>>,
}

impl WebhookQueue {
    /// Takes events that are committed and leased to this process.
    pub fn send(&self, events: Vec<DueEvent>) {
        for event in events {
            if self.sender.try_send((Instant::now(), event)).is_err() {
                tracing::warn!("too many webhooks wait; this one will be claimed when its lease expires");
            }
        }
    }

    /// Waits for an event to deliver.
    pub async fn receive(&self) -> DueEvent {
        let mut receiver = self.receiver.lock().await;
        while let Some((sent, event)) = receiver.recv().await {
            if sent.elapsed() < MAX_WAIT {
                return event;
            }
        }
        std::future::pending().await
    }
}

impl Default for WebhookQueue {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        Self { sender, receiver: Arc::new(Mutex::new(receiver)) }
    }
}
