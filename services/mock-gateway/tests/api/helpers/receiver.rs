//! The receiver of webhooks, in the place of booking-service.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use testing::wait_for;
use tokio::net::TcpListener;

use super::WEBHOOK_SECRET;

/// A received webhook.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) signature: String,
    pub(crate) genuine: bool,
    pub(crate) body: String,
    pub(crate) event: Value,
}

impl Delivery {
    pub(crate) fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap()
    }

    /// The payment intent that it is about.
    pub(crate) fn intent(&self) -> &str {
        let object = &self.event["data"]["object"];
        let id = if object["object"] == "payment_intent" { &object["id"] } else { &object["payment_intent"] };
        id.as_str().unwrap()
    }
}

/// Accepts webhooks with a valid signature, except those that it is told to refuse.
pub(crate) struct Receiver {
    pub(crate) url: String,
    inbox: Inbox,
}

#[derive(Clone, Default)]
struct Inbox {
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    refusals: Arc<AtomicU32>,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let inbox = Inbox::default();
        let router = Router::new().route("/payments/webhooks/mock", post(receive)).with_state(inbox.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/payments/webhooks/mock", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inbox }
    }

    /// Answers the next `times` webhooks with 503.
    pub(crate) fn refuse(&self, times: u32) {
        self.inbox.refusals.store(times, Ordering::SeqCst);
    }

    /// All received webhooks, refused or not.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.inbox.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for `count` webhooks about an intent, and returns them.
    pub(crate) async fn wait_for(&self, intent: &str, count: usize) -> Vec<Delivery> {
        wait_for("the webhooks of an intent", async || {
            let mut deliveries = self.deliveries();
            deliveries.retain(|delivery| delivery.intent() == intent);
            (deliveries.len() >= count).then_some(deliveries)
        })
        .await
    }
}

async fn receive(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = headers["stripe-signature"].to_str().unwrap().to_owned();
    let genuine = is_genuine(&signature, &body);
    let (event, body) = (serde_json::from_slice(&body).unwrap(), String::from_utf8(body.to_vec()).unwrap());
    let delivery = Delivery { signature, genuine, body, event };
    inbox.deliveries.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
    let refuse = |left: u32| left.checked_sub(1);
    if inbox.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if genuine { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

fn is_genuine(signature: &str, body: &[u8]) -> bool {
    let (time, code) = signature.split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).unwrap();
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(&hex::decode(code).unwrap()).is_ok()
}
