//! The service on a database of its own, with tokens of users and of booking-service, and events to sell.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use contracts::{
    identity::{ACCESS_TOKEN_AUDIENCE, ACCESS_TOKEN_ISSUER, ACCESS_TOKEN_TYPE, AccessClaims, Role},
    reservation::ReservationState,
};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use event_service::{App, Config, domain::Event};
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use platform::{
    Clock,
    auth::{AccessKeys, ServiceTokenSigner},
    server::with_defaults,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

const KEY_ID: &str = "test";
const CONDITION_TIMEOUT: Duration = Duration::from_secs(20);
/// The default organizer of events.
pub(crate) const ORGANIZER: i32 = 7;

pub(crate) fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; run: make test"))
}

/// One replica of the service.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) database: mongodb::Database,
    pub(crate) clock: Clock,
    pub(crate) keys: TempDir,
    router: Router,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with_batches_of(500).await
    }

    pub(crate) async fn with_batches_of(batch_max: u32) -> Self {
        let name = format!("event_test_{}", Uuid::new_v4().simple());
        let app = Self::on(&server("TEST_MONGODB_URL"), &name, batch_max).await;
        app.app.state().store.migrate().await.unwrap();
        app
    }

    /// Another replica on the same database.
    pub(crate) async fn replica(&self) -> Self {
        Self::on(&server("TEST_MONGODB_URL"), self.database.name(), 500).await
    }

    /// A replica on any database.
    pub(crate) async fn on(url: &str, name: &str, batch_max: u32) -> Self {
        let keys = TempDir::new().unwrap();
        write_service_keys(keys.path());
        let clock = Clock::fixed(Clock::system().now());
        let arguments = [
            "event-service",
            &format!("--mongodb-url={url}"),
            &format!("--mongodb-database={name}"),
            // Nobody listens there: tests of the relay bring their own address.
            "--amqp-url=amqp://127.0.0.1:1",
            "--jwks-url=http://127.0.0.1:1/.well-known/jwks.json",
            &format!("--trusted-service-keys-dir={}", keys.path().join("trusted").display()),
            &format!("--batch-max={batch_max}"),
            "--change-quiet-seconds=1",
        ];
        let config = Config::try_parse_from(arguments).unwrap();
        let access_keys = AccessKeys::fixed(HashMap::from([(KEY_ID.to_owned(), decoding_key())]));
        let app = App::with_access_keys(&config, clock.clone(), access_keys).await.unwrap();
        let database = app.state().store.database().clone();
        let router = with_defaults(app.router(), &config.server);
        Self { app, database, clock, keys, router }
    }

    pub(crate) async fn end(self) {
        self.app.lifecycle().stop();
        self.database.drop().await.unwrap();
    }

    pub(crate) fn token(&self, user_id: i32, role: Role) -> String {
        token(self.clock.now(), user_id, role)
    }

    pub(crate) fn organizer(&self) -> String {
        self.token(ORGANIZER, Role::Organizer)
    }

    /// booking-service's token.
    pub(crate) fn booking_service(&self) -> String {
        let file = self.keys.path().join("booking-service.pem");
        ServiceTokenSigner::from_file("booking-service", &file, self.clock.clone()).unwrap().token("event-service")
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        Call::new(&self.router, "GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Call {
        Call::new(&self.router, "POST", path).json(body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Call {
        Call::new(&self.router, "PUT", path).json(body)
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Call {
        Call::new(&self.router, "PATCH", path).json(body)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        Call::new(&self.router, "DELETE", path)
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        Call::new(&self.router, method, path)
    }

    /// A concert in 30 days, with other fields than usual.
    pub(crate) fn concert(&self, fields: &Value) -> Value {
        let start = self.clock.now() + TimeDelta::days(30);
        let mut event = json!({
            "title": "Concert", "description": "Loud", "venue": "Town Hall", "time_zone": "Europe/Berlin",
            "starts_at": start, "ends_at": start + TimeDelta::hours(3),
            "capacity": 100, "price": 2500, "currency": "EUR",
        });
        for (name, value) in fields.as_object().unwrap() {
            event[name] = value.clone();
        }
        event
    }

    /// The organizer creates a concert; returns the event. Repeats the request, under the same key, while the database
    /// is busy.
    pub(crate) async fn creates(&self, fields: &Value) -> Value {
        let (concert, key) = (self.concert(fields), Uuid::new_v4().to_string());
        let create =
            || self.post("/api/events", &concert).bearer(&self.organizer()).header("idempotency-key", &key).send();
        let mut answer = create().await;
        for _ in 1..CREATION_ATTEMPTS {
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                break;
            }
            answer = create().await;
        }
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body
    }

    /// The organizer creates a concert with that many seats; returns its id.
    pub(crate) async fn sells(&self, capacity: i64) -> String {
        text(&self.creates(&json!({ "capacity": capacity })).await["id"])
    }

    /// booking-service holds seats for a quarter of an hour.
    pub(crate) async fn holds(&self, event_id: &str, reservation_id: Uuid, seats: u32) -> Answer {
        self.holds_for(event_id, reservation_id, seats, 900).await
    }

    pub(crate) async fn holds_for(&self, event_id: &str, id: Uuid, seats: u32, hold_seconds: u32) -> Answer {
        let body = json!({ "reservation_id": id, "seats": seats, "hold_seconds": hold_seconds });
        let path = format!("/api/events/{event_id}/decrease_capacity");
        self.put(&path, &body).bearer(&self.booking_service()).send().await
    }

    /// booking-service holds seats for a user.
    pub(crate) async fn holds_of(&self, user_id: i32, event_id: &str, seats: u32) -> Answer {
        let body = json!({ "reservation_id": Uuid::new_v4(), "seats": seats, "hold_seconds": 900, "user_id": user_id });
        let path = format!("/api/events/{event_id}/decrease_capacity");
        self.put(&path, &body).bearer(&self.booking_service()).send().await
    }

    pub(crate) async fn confirms(&self, event_id: &str, id: Uuid) -> Answer {
        let path = format!("/api/events/{event_id}/reservations/{id}/confirm");
        self.put(&path, &json!({})).bearer(&self.booking_service()).send().await
    }

    pub(crate) async fn releases(&self, event_id: &str, id: Uuid, only_expired: bool) -> Answer {
        let path = format!("/api/events/{event_id}/reservations/{id}/release");
        self.put(&path, &json!({ "only_expired": only_expired })).bearer(&self.booking_service()).send().await
    }

    /// The organizer changes an event.
    pub(crate) async fn edits(&self, event_id: &str, fields: &Value) -> Answer {
        self.patch(&format!("/api/events/{event_id}"), fields).bearer(&self.organizer()).send().await
    }

    /// The event in the database.
    pub(crate) async fn event(&self, event_id: &str) -> Event {
        self.app.state().store.find_event(event_id).await.unwrap().unwrap()
    }

    /// `available, held, sold` in the database.
    pub(crate) async fn counters(&self, event_id: &str) -> (i64, i64, i64) {
        let event = self.event(event_id).await;
        (event.available, event.held, event.sold)
    }

    /// Counters of all events equal the sums over their reservations.
    pub(crate) async fn assert_sound(&self) {
        let page = self.app.state().store.check_ledger().await.unwrap();
        assert_eq!(page.mismatches, []);
    }
}

/// How often the creation of a concert is requested: on a busy machine the database may not answer in time.
const CREATION_ATTEMPTS: u32 = 4;

pub(crate) struct Call {
    router: Router,
    request: axum::http::request::Builder,
    body: Body,
}

impl Call {
    fn new(router: &Router, method: &str, path: &str) -> Self {
        let request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        Self { router: router.clone(), request, body: Body::empty() }
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    pub(crate) fn body(self, body: impl Into<Body>) -> Self {
        let call = self.header("content-type", "application/json");
        Self { body: body.into(), ..call }
    }

    pub(crate) async fn send(self) -> Answer {
        let response = self.router.oneshot(self.request.body(self.body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let header = |name| parts.headers.get(name).cloned();
        let (content_type, retry_after) = (header("content-type"), header("retry-after"));
        Answer { status: parts.status, content_type, retry_after, body }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<axum::http::HeaderValue>,
    pub(crate) retry_after: Option<axum::http::HeaderValue>,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, code: &str) {
        let problem = self.content_type.as_ref().is_some_and(|kind| kind == "application/problem+json");
        assert!(problem && self.status == status && self.body["code"] == code, "{self:?}");
    }

    #[track_caller]
    pub(crate) fn assert_ok(&self) -> &Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        &self.body
    }

    /// The titles of a list's items.
    #[track_caller]
    pub(crate) fn titles(&self) -> Vec<String> {
        self.assert_ok()["items"].as_array().unwrap().iter().map(|item| text(&item["title"])).collect()
    }

    /// The state of a reservation.
    #[track_caller]
    pub(crate) fn state(&self) -> ReservationState {
        serde_json::from_value(self.assert_ok()["state"].clone()).unwrap()
    }

    /// The fields that a refusal names.
    pub(crate) fn fields(&self) -> Vec<String> {
        self.body["errors"].as_array().unwrap().iter().map(|error| text(&error["field"])).collect()
    }
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) -> impl Future {
    async move {
        let polling = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(CONDITION_TIMEOUT, polling).await.is_ok(), "timed out waiting until {what}");
    }
}

pub(crate) fn token(now: DateTime<Utc>, user_id: i32, role: Role) -> String {
    let claims = AccessClaims {
        iss: ACCESS_TOKEN_ISSUER.to_owned(),
        aud: ACCESS_TOKEN_AUDIENCE.to_owned(),
        sub: user_id.to_string(),
        iat: now.timestamp(),
        exp: now.timestamp() + 600,
        sid: "session".to_owned(),
        role,
        email: "ada@example.com".to_owned(),
        name: "Ada".to_owned(),
        language: None,
    };
    let header = Header {
        typ: Some(ACCESS_TOKEN_TYPE.to_owned()),
        kid: Some(KEY_ID.to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    let pem = SigningKey::from_bytes(&[7; 32]).to_pkcs8_pem(LineEnding::LF).unwrap();
    encode(&header, &claims, &EncodingKey::from_ed_pem(pem.as_bytes()).unwrap()).unwrap()
}

fn decoding_key() -> DecodingKey {
    let pem = SigningKey::from_bytes(&[7; 32]).verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    DecodingKey::from_ed_pem(pem.as_bytes()).unwrap()
}

/// `booking-service.pem` to sign with, and `trusted/booking-service.pem` to verify with.
pub(crate) fn write_service_keys(folder: &Path) {
    let key = SigningKey::from_bytes(&[9; 32]);
    fs::write(folder.join("booking-service.pem"), key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
    fs::create_dir(folder.join("trusted")).unwrap();
    let public = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    fs::write(folder.join("trusted/booking-service.pem"), public).unwrap();
}
