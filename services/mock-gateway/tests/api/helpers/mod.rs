//! A gateway of one or more replicas on a database of its own, its receiver of webhooks, and a client that talks to it.

mod client;
mod database;
mod receiver;

use std::time::Duration;

use axum::http::StatusCode;
use chrono::DateTime;
use mock_gateway::{App, config::Settings};
use platform::{Clock, Lifecycle, config::Secret};
use reqwest::Method;
use serde_json::Value;
use tokio::{net::TcpListener, time::Instant};

pub(crate) use self::client::{Client, Reply};
use self::{database::Database, receiver::Receiver};

pub(crate) const API_KEY: &str = "sk_test_of_these_tests";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_of_these_tests";
/// What the gateway's clock shows, in seconds since 1970.
pub(crate) const NOW: i64 = 1_790_000_000;
/// The longest that a test waits for a condition.
const PATIENCE: Duration = Duration::from_secs(20);

/// A company: a database, a receiver of its webhooks, and replicas.
pub(crate) struct Gateway {
    pub(crate) database: Database,
    pub(crate) receiver: Receiver,
    replicas: Vec<Replica>,
    late_seconds: u32,
}

impl Gateway {
    /// One replica whose late payments settle after a second.
    pub(crate) async fn start() -> Self {
        Self::with_late_seconds(1).await
    }

    pub(crate) async fn with_late_seconds(late_seconds: u32) -> Self {
        let (database, receiver) = (Database::create().await, Receiver::start().await);
        let mut gateway = Self { database, receiver, replicas: Vec::new(), late_seconds };
        gateway.add_replica().await;
        gateway
    }

    /// One more on the same database.
    pub(crate) async fn add_replica(&mut self) -> Client {
        let settings = self.settings(&self.database.url());
        let replica = Replica::start(settings).await;
        let client = replica.client.clone();
        self.replicas.push(replica);
        client
    }

    /// Kills all replicas as kill -9 does: nothing gets to its end.
    pub(crate) fn kill_replicas(&mut self) {
        self.replicas.clear();
    }

    /// Stops all replicas as SIGTERM does in the end, without taking their processes away.
    pub(crate) fn stop_replicas(&self) {
        for replica in &self.replicas {
            replica.lifecycle.stop();
        }
    }

    pub(crate) fn settings(&self, database_url: &str) -> Settings {
        Settings {
            database_url: Secret::new(database_url),
            database_connections: 5,
            api_key: Secret::new(API_KEY),
            webhook_url: self.receiver.url.parse().unwrap(),
            webhook_secret: Secret::new(WEBHOOK_SECRET),
            late_seconds: self.late_seconds,
        }
    }

    /// Talks to the replica that was started last.
    pub(crate) fn client(&self) -> &Client {
        &self.replicas.last().expect("a replica runs").client
    }

    /// An intent of 2500 euro cents that nobody paid yet.
    pub(crate) async fn new_intent(&self, booking_id: &str) -> String {
        let form = [("amount", "2500"), ("currency", "eur"), ("metadata[booking_id]", booking_id)];
        self.client().post("/v1/payment_intents", &form).await.expect(StatusCode::OK).id()
    }

    pub(crate) async fn paid_intent(&self, booking_id: &str) -> String {
        let id = self.new_intent(booking_id).await;
        self.client().confirm(&id, "pm_card_visa").await.expect(StatusCode::OK);
        id
    }

    /// Waits until the intent has a status.
    pub(crate) async fn wait_for_status(&self, intent: &str, status: &str) -> Value {
        let path = format!("/v1/payment_intents/{intent}");
        until(|| async {
            let reply = self.client().get(&path).await;
            (reply.json["status"] == status).then_some(reply.json)
        })
        .await
    }

    /// The ledger of an intent as (kind, amount).
    pub(crate) async fn ledger(&self, intent: &str) -> Vec<(String, i64)> {
        let reply = self.client().get(&format!("/control/ledger?payment_intent={intent}")).await;
        let items = reply.expect(StatusCode::OK).json["items"].clone();
        let entry = |item: &Value| (item["kind"].as_str().unwrap().to_owned(), item["amount"].as_i64().unwrap());
        items.as_array().unwrap().iter().map(entry).collect()
    }

    /// Orders misbehaviour.
    pub(crate) async fn misbehave(&self, rules: Value) {
        self.client().json(Method::PUT, "/control/faults", &rules).await.expect(StatusCode::OK);
    }
}

/// Waits until `probe` gives something.
pub(crate) async fn until<T, F, Fut>(probe: F) -> T
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "the condition did not come about within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A running replica; dropping it kills it.
struct Replica {
    client: Client,
    lifecycle: Lifecycle,
    /// Of its own, so that dropping it ends everything it started at once.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Replica {
    async fn start(settings: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (address, lifecycle) = runtime
            .spawn(async move {
                let clock = Clock::fixed(DateTime::from_timestamp(NOW, 0).unwrap());
                let app = App::build(settings, clock).unwrap();
                app.start_loops();
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let (router, lifecycle) = (app.router(), app.lifecycle().clone());
                tokio::spawn(async move { axum::serve(listener, router).await });
                (address, lifecycle)
            })
            .await
            .unwrap();
        Self { client: Client::new(&format!("http://{address}")), lifecycle, runtime: Some(runtime) }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.lifecycle.stop();
    }
}
