//! A gateway of one or more replicas on a database of its own, its receiver of webhooks, and a client that talks to it.

use std::{
    fmt::Debug,
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use chrono::DateTime;
use hmac::{Hmac, KeyInit, Mac};
use mock_gateway::{App, MIGRATIONS, config::Settings};
use platform::{Clock, client, config::Secret, server::Lifecycle};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use sha2::Sha256;
use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{net::TcpListener, time::Instant};
use uuid::Uuid;

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

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    /// The same, if it has the status.
    #[track_caller]
    pub(crate) fn expect(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", self.json);
        self
    }

    pub(crate) fn id(&self) -> String {
        self.json["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.json)).to_owned()
    }

    /// Type and code of a refusal.
    pub(crate) fn error(&self) -> (&str, &str) {
        let error = &self.json["error"];
        assert!(error["message"].is_string(), "not an error of Stripe's shape: {}", self.json);
        (error["type"].as_str().unwrap(), error["code"].as_str().unwrap_or(""))
    }

    pub(crate) fn replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }
}

/// Talks to one replica.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        Self { base: base.to_owned(), http: client::build(PATIENCE) }
    }

    /// A request with the right key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare_request(method, path).bearer_auth(API_KEY)
    }

    /// A request without a key.
    pub(crate) fn bare_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Reply {
        self.try_send(request).await.expect("an answer")
    }

    pub(crate) async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Reply> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(text()));
        Ok(Reply { status, headers, json })
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        self.send(self.request(Method::POST, path).form(form)).await
    }

    pub(crate) async fn post_with_key(&self, key: &str, path: &str, form: &[(&str, &str)]) -> Reply {
        self.send(self.request(Method::POST, path).header("idempotency-key", key).form(form)).await
    }

    pub(crate) async fn json(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.send(self.request(method, path).json(body)).await
    }

    pub(crate) async fn confirm(&self, intent: &str, payment_method: &str) -> Reply {
        self.post(&format!("/v1/payment_intents/{intent}/confirm"), &[("payment_method", payment_method)]).await
    }

    /// Whether nothing is answered within half a second.
    pub(crate) async fn is_left_waiting(&self, request: RequestBuilder) -> bool {
        match self.try_send(request.timeout(Duration::from_millis(500))).await {
            Ok(reply) => panic!("answered: {} {}", reply.status, reply.json),
            Err(error) => error.is_timeout(),
        }
    }
}

/// A webhook as it came.
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

    /// The intent that it is about.
    pub(crate) fn intent(&self) -> &str {
        let object = &self.event["data"]["object"];
        let id = if object["object"] == "payment_intent" { &object["id"] } else { &object["payment_intent"] };
        id.as_str().unwrap()
    }
}

/// What booking-service is to the gateway: takes webhooks that are well signed, unless it is told to refuse some.
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
    async fn start() -> Self {
        let inbox = Inbox::default();
        let router = Router::new().route("/payments/webhooks/mock", post(receive)).with_state(inbox.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/payments/webhooks/mock", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inbox }
    }

    /// Answers 503 so many times from now on.
    pub(crate) fn refuse(&self, times: u32) {
        self.inbox.refusals.store(times, Ordering::SeqCst);
    }

    /// Everything that came, refused or not.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.inbox.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many webhooks about an intent came, and gives them.
    pub(crate) async fn wait_for(&self, intent: &str, count: usize) -> Vec<Delivery> {
        until(|| async {
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

/// A database with the schema; dropped in the end.
pub(crate) struct Database {
    name: String,
    pub(crate) pool: PgPool,
}

impl Database {
    async fn create() -> Self {
        let name = format!("mock_gateway_{}", Uuid::new_v4().simple());
        let mut server = PgConnection::connect(&server_url()).await.expect("PostgreSQL answers");
        server.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let pool = PgPool::connect_with(options(&name)).await.unwrap();
        MIGRATIONS.run(&pool).await.unwrap();
        Self { name, pool }
    }

    pub(crate) fn url(&self) -> String {
        let mut url: url::Url = server_url().parse().unwrap();
        url.set_path(&self.name);
        url.into()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("drop database if exists {} with (force)", self.name);
        let drop_it = async move {
            let mut server = PgConnection::connect(&server_url()).await?;
            server.execute(sqlx::AssertSqlSafe(sql)).await
        };
        // The test's own runtime may be ending.
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(drop_it)
        });
        thread.join().expect("no panic while dropping a database").expect("the database can be dropped");
    }
}

fn options(database: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(&server_url()).unwrap().database(database)
}

fn server_url() -> String {
    std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL is not set; run: make test")
}
