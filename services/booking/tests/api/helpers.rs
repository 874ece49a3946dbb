//! A service for one test, with its own database and its own fakes of other services; and requests to it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode, header, response::Parts},
};
use booking_service::{app::App, config::Config, loops::sweeper, state::AppState};
use chrono::{DateTime, Utc};
use clap::Parser;
use contracts::identity::{ACCESS_TOKEN_AUDIENCE, ACCESS_TOKEN_ISSUER, ACCESS_TOKEN_TYPE, AccessClaims, Role};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding},
};
use futures::future::join_all;
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use platform::{Clock, server::with_defaults};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection, PgPool, postgres::PgRow};
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

use crate::neighbours::{Neighbours, WAIT_TIMEOUT};

pub(crate) const WEBHOOK_SECRET: &str = "whsec_ours";
pub(crate) const ALICE: i32 = 11;
pub(crate) const BOB: i32 = 12;

/// The service on a database of its own.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) neighbours: Neighbours,
    pub(crate) pool: PgPool,
    pub(crate) arguments: Vec<String>,
    clock: Clock,
    router: Router,
    signer: Arc<EncodingKey>,
    _folder: TempDir,
    _database: Database,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A service with other settings, as on the command line.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let database = Database::migrated().await;
        let folder = TempDir::new().unwrap();
        let (signer, keys) = access_key();
        let neighbours = Neighbours::start(keys).await;
        let key_file = folder.path().join("service.pem");
        let service_key = SigningKey::from_bytes(&[3; 32]).to_pkcs8_pem(LineEnding::LF).unwrap();
        std::fs::write(&key_file, service_key.as_bytes()).unwrap();
        let mut arguments: Vec<String> = vec!["booking-service".into()];
        let own = [
            ("--database-url", database.url.clone()),
            ("--amqp-url", amqp_url().to_owned()),
            ("--jwks-url", format!("{}/.well-known/jwks.json", neighbours.url)),
            ("--event-service-url", neighbours.url.clone()),
            ("--payment-api-url", neighbours.url.clone()),
            ("--service-key-file", key_file.display().to_string()),
            ("--payment-api-key", "sk_test_ours".to_owned()),
            ("--payment-webhook-secret", WEBHOOK_SECRET.to_owned()),
            ("--payment-provider", "mock".to_owned()),
            ("--payment-timeout-seconds", "1".to_owned()),
            ("--event-timeout-seconds", "1".to_owned()),
        ];
        arguments.extend(own.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        for pair in settings.chunks(2) {
            if let Some(at) = arguments.iter().position(|argument| argument == pair[0]) {
                arguments.drain(at..=at + 1);
            }
            arguments.extend(pair.iter().map(ToString::to_string));
        }
        // The database and the fakes use the system's time, so this clock starts there too.
        let clock = Clock::fixed(Clock::system().now());
        let app = build(&arguments, &clock);
        let router = router(&app);
        let pool = PgPool::connect_lazy(&database.url).unwrap();
        let signer = Arc::new(signer);
        Self { app, neighbours, pool, arguments, clock, router, signer, _folder: folder, _database: database }
    }

    /// Another replica on the same database.
    pub(crate) fn replica(&self) -> App {
        build(&self.arguments, &self.clock)
    }

    pub(crate) fn state(&self) -> &AppState {
        self.app.state()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        Call::new(self.router.clone(), Method::GET, path)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers read better with json!(…) as it is")]
    pub(crate) fn post(&self, path: &str, body: Value) -> Call {
        Call::new(self.router.clone(), Method::POST, path).json(&body)
    }

    /// The Authorization header of an attendee.
    pub(crate) fn bearer(&self, user_id: i32) -> String {
        self.bearer_as(user_id, Role::Attendee)
    }

    /// The Authorization header of a user with that role.
    pub(crate) fn bearer_as(&self, user_id: i32, role: Role) -> String {
        let now = self.clock.now().timestamp();
        let claims = AccessClaims {
            iss: ACCESS_TOKEN_ISSUER.to_owned(),
            aud: ACCESS_TOKEN_AUDIENCE.to_owned(),
            sub: user_id.to_string(),
            iat: now,
            exp: now + 600,
            sid: "s".to_owned(),
            role,
            email: format!("user{user_id}@example.org"),
            name: format!("User {user_id}"),
            language: None,
        };
        let header = Header {
            typ: Some(ACCESS_TOKEN_TYPE.to_owned()),
            kid: Some("test".to_owned()),
            ..Header::new(Algorithm::EdDSA)
        };
        format!("Bearer {}", jsonwebtoken::encode(&header, &claims, &self.signer).unwrap())
    }

    pub(crate) fn booking_request(&self, user_id: i32, event_id: &str, seats: i64) -> Call {
        let call = self.post("/bookings", json!({ "event_id": event_id, "seats": seats }));
        call.header("authorization", &self.bearer(user_id))
    }

    pub(crate) fn payment_request(&self, user_id: i32, booking_id: i32, method: &str) -> Call {
        let call = self.post("/payments", json!({ "booking_id": booking_id, "payment_method": method }));
        call.header("authorization", &self.bearer(user_id))
    }

    pub(crate) fn cancel_request(&self, user_id: i32, booking_id: i32) -> Call {
        Call::new(self.router.clone(), Method::POST, &format!("/bookings/{booking_id}/cancel"))
            .header("authorization", &self.bearer(user_id))
    }

    /// Alice books seats, which are held; the booking's number.
    pub(crate) async fn books(&self, event_id: &str, seats: i64) -> i32 {
        let answer = self.booking_request(ALICE, event_id, seats).send().await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.id()
    }

    /// Alice pays.
    pub(crate) async fn pays(&self, booking_id: i32, method: &str) -> Answer {
        self.payment_request(ALICE, booking_id, method).send().await
    }

    /// Alice books and pays; the booking's number.
    pub(crate) async fn buys(&self, event_id: &str, seats: i64) -> i32 {
        let booking = self.books(event_id, seats).await;
        let paid = self.pays(booking, "pm_card_visa").await;
        assert_eq!(paid.status, StatusCode::CREATED, "{paid:?}");
        booking
    }

    /// Alice's view of a booking.
    pub(crate) async fn booking(&self, id: i32) -> Value {
        let call = self.get(&format!("/bookings/{id}")).header("authorization", &self.bearer(ALICE));
        let answer = call.send().await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body
    }

    /// Status and payment status of a booking.
    pub(crate) async fn standing(&self, id: i32) -> (String, String) {
        self.row("select status, payment_status from bookings where id = $1", id).await
    }

    #[track_caller]
    pub(crate) fn stands(&self, id: i32, status: &str, payment_status: &str) -> impl Future<Output = ()> {
        let wanted = (status.to_owned(), payment_status.to_owned());
        async move { assert_eq!(self.standing(id).await, wanted) }
    }

    /// The types of the messages about a booking, oldest first.
    pub(crate) async fn messages_about(&self, booking_id: i32) -> Vec<String> {
        let sql = "select message->>'type' from outbox
             where (message->>'booking_id')::int = $1 and message->>'type' like 'booking.%' order by created_at, id";
        sqlx::query_scalar(sql).bind(booking_id).fetch_all(&self.pool).await.unwrap()
    }

    /// The row of a query about a number.
    pub(crate) async fn row<T>(&self, sql: &'static str, id: i32) -> T
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        sqlx::query_as(sql).bind(id).fetch_one(&self.pool).await.unwrap()
    }

    /// Changes rows.
    pub(crate) async fn execute(&self, sql: &'static str) -> u64 {
        sqlx::query(sql).execute(&self.pool).await.unwrap().rows_affected()
    }

    /// Lets every hold run out, here and in event-service.
    pub(crate) async fn holds_end(&self) {
        self.neighbours.end_holds();
        self.execute("update bookings set expires_at = now() - interval '1 second' where expires_at is not null").await;
    }

    /// A booking of two seats whose payment is processing while its hold ends; the charge.
    pub(crate) async fn pays_late(&self, event: &str) -> (i32, String) {
        let booking = self.books(event, 2).await;
        let answer = self.pays(booking, "pm_mock_late").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        self.holds_end().await;
        self.sweeps().await;
        self.stands(booking, "Expired", "Unpaid").await;
        (booking, self.neighbours.charge_of(booking))
    }

    /// Lets every lease run out.
    pub(crate) async fn leases_end(&self) {
        for sql in [
            "update bookings set lease_until = null, next_check_at = now() - interval '1 second'",
            "update payments set lease_until = null, next_check_at = now() - interval '1 second'",
            "update refunds set lease_until = null, next_check_at = now() - interval '1 second'",
            "update account_deletions set lease_until = null, next_check_at = now() - interval '1 second'",
            "update idempotency_keys set lease_until = now() - interval '1 second'",
            "update outbox set lease_until = null",
        ] {
            self.execute(sql).await;
        }
    }

    /// Runs every sweeper once over all unfinished rows.
    pub(crate) async fn sweeps(&self) {
        self.leases_end().await;
        self.sweeps_what_is_due().await;
    }

    pub(crate) async fn sweeps_what_is_due(&self) {
        let state = self.state();
        sweeper::account_deletions(state.clone()).await.unwrap();
        sweeper::payments(state.clone()).await.unwrap();
        sweeper::bookings(state.clone()).await.unwrap();
        sweeper::refunds(state.clone()).await.unwrap();
    }

    /// Asserts what holds whenever nothing is under way.
    pub(crate) async fn is_consistent(&self) {
        let rows: Vec<Standing> =
            sqlx::query_as("select id, status, payment_status, event_id, seats, amount, reservation_id from bookings")
                .fetch_all(&self.pool)
                .await
                .unwrap();
        let mut confirmed = 0;
        for (id, status, payment_status, event_id, seats, amount, reservation) in rows {
            let (charged, charges) = self.neighbours.charged(id);
            let kept = charged - self.neighbours.refunded(id);
            assert!(charges <= 1, "booking {id} was charged {charges} times");
            let world = self.neighbours.world();
            let held = world.reservations.get(&reservation).cloned();
            if status == "Confirmed" {
                confirmed += 1;
                assert_eq!(payment_status, "Paid", "booking {id}");
                assert_eq!(kept, amount.unwrap(), "booking {id}");
                let held = held.expect("a confirmed booking has a reservation");
                assert_eq!((held.state, held.event_id), ("confirmed", event_id), "booking {id}");
                assert_eq!(i64::from(held.seats), i64::from(seats), "booking {id}");
            } else {
                assert_eq!(kept, 0, "booking {id} is {status}, {payment_status}");
                let state = held.map_or("none", |held| held.state);
                assert!(state != "confirmed", "booking {id} is {status}, its seats are {state}");
                assert!(status == "Pending" || state != "held", "booking {id} is {status}, its seats are {state}");
            }
        }
        let sold = self.neighbours.world().reservations.values().filter(|r| r.state == "confirmed").count();
        assert!(sold >= confirmed);
    }
}

fn build(arguments: &[String], clock: &Clock) -> App {
    App::build(&Config::try_parse_from(arguments).unwrap(), clock.clone()).unwrap()
}

pub(crate) fn router(app: &App) -> Router {
    let config = Config::try_parse_from(["booking-service"]).unwrap();
    with_defaults(app.router(), &config.server)
}

/// A key that signs access tokens, and the document that publishes it.
fn access_key() -> (EncodingKey, Value) {
    let key = SigningKey::from_bytes(&[5; 32]);
    let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    let x = base64url(key.verifying_key().as_bytes());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "test", "x": x });
    (EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(), json!({ "keys": [jwk] }))
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<bool> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let letter = |six: &[bool]| {
        let value = (0..6).fold(0, |value, at| value * 2 + usize::from(six.get(at).copied().unwrap_or(false)));
        char::from(LETTERS[value])
    };
    bits.chunks(6).map(letter).collect()
}

/// Waits until `condition` returns a value.
pub(crate) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, waiting).await.unwrap_or_else(|_| panic!("timed out waiting until {what}"))
}

/// Sends all at once; the answers in order.
pub(crate) async fn all(calls: impl IntoIterator<Item = Call>) -> Vec<Answer> {
    let tasks = calls.into_iter().map(|call| tokio::spawn(call.send()));
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

/// A request that is being built.
pub(crate) struct Call {
    router: Router,
    request: Request<Body>,
}

impl Call {
    pub(crate) fn new(router: Router, method: Method, path: &str) -> Self {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost:8080");
        Self { router, request: request.body(Body::empty()).unwrap() }
    }

    /// The same request to another replica.
    pub(crate) fn to(self, app: &App) -> Self {
        Self { router: router(app), ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    pub(crate) fn body(self, body: impl Into<Body>) -> Self {
        let mut call = self.header("content-type", "application/json");
        *call.request.body_mut() = body.into();
        call
    }

    /// Sends it; the answer is JSON or nothing.
    pub(crate) async fn send(self) -> Answer {
        let (parts, bytes) = self.send_raw().await;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends it; the answer is anything.
    pub(crate) async fn send_raw(self) -> (Parts, Bytes) {
        let response = self.router.oneshot(self.request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.body["id"].as_i64().unwrap_or_else(|| panic!("{self:?}"))).unwrap()
    }

    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts status and code of a refusal and that it is a problem.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
    }
}

/// A database of its own, dropped at the end.
struct Database {
    name: String,
    url: String,
}

impl Database {
    async fn migrated() -> Self {
        let name = format!("booking_{}", Uuid::new_v4().simple());
        let mut connection =
            PgConnection::connect(server_url()).await.expect("PostgreSQL of TEST_POSTGRES_URL answers");
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.unwrap();
        let mut url = url::Url::parse(server_url()).unwrap();
        url.set_path(&name);
        let database = Self { name, url: url.into() };
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        sqlx::migrate!().run(&mut connection).await.unwrap();
        database
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        // Needs its own runtime: the test's cannot block here.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(server_url()).await.unwrap();
                sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
            });
        });
        dropping.join().ok();
    }
}

fn server_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL is not set; run: make test"))
}

pub(crate) fn amqp_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| std::env::var("TEST_AMQP_URL").expect("TEST_AMQP_URL is not set; run: make test"))
}

/// Number, status, payment status, event, seats, amount and reservation of a booking.
type Standing = (i32, String, String, String, i32, Option<i64>, Uuid);

/// An instant of an answer.
#[track_caller]
pub(crate) fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}
