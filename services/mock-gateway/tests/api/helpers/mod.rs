//! A gateway with a database of its own, one or more replicas, a receiver of its webhooks, and clients.

mod client;
mod database;
mod receiver;

use std::time::Duration;

use axum::http::StatusCode;
use chrono::DateTime;
use clap::Parser;
use mock_gateway::{app::App, config::Config};
use platform::{Clock, Lifecycle};
use reqwest::Method;
use serde_json::Value;
use testing::{wait_for, wait_until};
use tokio::net::TcpListener;

pub(crate) use self::client::{Client, Reply};
use self::{database::Database, receiver::Receiver};

pub(crate) const API_KEY: &str = "sk_test_of_these_tests";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_of_these_tests";
/// The time of the gateway's clock, in seconds since 1970.
pub(crate) const NOW: i64 = 1_790_000_000;
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Gateway {
    pub(crate) database: Database,
    pub(crate) receiver: Receiver,
    replicas: Vec<Replica>,
    late_seconds: u32,
}

impl Gateway {
    /// Starts one replica, whose late payments settle after a second.
    pub(crate) async fn start() -> Self {
        Self::with_late_seconds(1).await
    }

    pub(crate) async fn with_late_seconds(late_seconds: u32) -> Self {
        let (database, receiver) = (Database::create().await, Receiver::start().await);
        let mut gateway = Self { database, receiver, replicas: Vec::new(), late_seconds };
        gateway.add_replica().await;
        gateway
    }

    /// Starts another replica on the same database.
    pub(crate) async fn add_replica(&mut self) -> Client {
        let replica = Replica::start(self.config(&self.database.url())).await;
        let client = replica.client.clone();
        self.replicas.push(replica);
        client
    }

    /// Kills all replicas as SIGKILL does.
    pub(crate) fn kill_replicas(&mut self) {
        self.replicas.clear();
    }

    /// Stops all replicas as SIGTERM does, but keeps their processes.
    pub(crate) fn stop_replicas(&self) {
        for replica in &self.replicas {
            replica.lifecycle.stop();
        }
    }

    pub(crate) fn config(&self, database_url: &str) -> Config {
        let late_seconds = self.late_seconds.to_string();
        let settings = [
            ["--database-url", database_url],
            ["--database-connections", "5"],
            ["--api-key", API_KEY],
            ["--webhook-url", &self.receiver.url],
            ["--webhook-secret", WEBHOOK_SECRET],
            ["--late-seconds", &late_seconds],
        ];
        Config::parse_from(["mock-gateway"].into_iter().chain(settings.into_iter().flatten()))
    }

    /// A client of the latest replica.
    pub(crate) fn client(&self) -> &Client {
        &self.replicas.last().expect("a replica runs").client
    }

    /// Creates a payment intent of 2500 euro cents.
    pub(crate) async fn new_intent(&self, booking_id: &str) -> String {
        let form = [("amount", "2500"), ("currency", "eur"), ("metadata[booking_id]", booking_id)];
        self.client().post("/v1/payment_intents", &form).await.expect(StatusCode::OK).id()
    }

    pub(crate) async fn paid_intent(&self, booking_id: &str) -> String {
        let id = self.new_intent(booking_id).await;
        self.client().confirm(&id, "pm_card_visa").await.expect(StatusCode::OK);
        id
    }

    pub(crate) async fn wait_for_status(&self, intent: &str, status: &str) -> Value {
        let path = format!("/v1/payment_intents/{intent}");
        wait_for(status, async || {
            let reply = self.client().get(&path).await;
            (reply.json["status"] == status).then_some(reply.json)
        })
        .await
    }

    /// The ledger entries of an intent, as (kind, amount).
    pub(crate) async fn ledger(&self, intent: &str) -> Vec<(String, i64)> {
        let reply = self.client().get(&format!("/control/ledger?payment_intent={intent}")).await;
        let items = reply.expect(StatusCode::OK).json["items"].clone();
        let entry = |item: &Value| (item["kind"].as_str().unwrap().to_owned(), item["amount"].as_i64().unwrap());
        items.as_array().unwrap().iter().map(entry).collect()
    }

    /// Waits until every webhook was delivered or given up.
    pub(crate) async fn wait_until_webhooks_finished(&self) {
        let unfinished = "select count(*) from events where finished_at is null";
        wait_until("all webhooks are finished", async || self.database.count(unfinished).await == 0).await;
    }

    /// Replaces the fault rules.
    pub(crate) async fn set_faults(&self, rules: Value) {
        self.client().json(Method::PUT, "/control/faults", &rules).await.expect(StatusCode::OK);
    }
}

/// A running replica. Dropping it kills it.
struct Replica {
    client: Client,
    lifecycle: Lifecycle,
    /// Its own, so that dropping it ends all its tasks.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Replica {
    async fn start(config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (address, lifecycle) = runtime
            .spawn(async move {
                let clock = Clock::fixed(DateTime::from_timestamp(NOW, 0).unwrap());
                let app = App::build(&config, clock).unwrap();
                app.spawn();
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let (router, lifecycle) = (app.router(), app.lifecycle.clone());
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
