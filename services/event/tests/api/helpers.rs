//! The service on a database of its own, with tokens of users and of booking-service, and events to sell.

use axum::{Router, http::StatusCode};
use chrono::TimeDelta;
use clap::Parser;
use contracts::{identity::Role, reservation::ReservationState};
use event_service::{app::App, config::Config, domain::Event};
use platform::{Clock, auth::ServiceTokenSigner, server::with_defaults};
use serde_json::{Value, json};
use tempfile::TempDir;
use testing::identity::{access_keys, access_token, write_service_keys};
pub(crate) use testing::{Answer, Call, server, wait_until};
use uuid::Uuid;

/// The default organizer of events.
pub(crate) const ORGANIZER: i32 = 7;

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
        Box::pin(Self::with_options(&[&format!("--batch-max={batch_max}")])).await
    }

    /// With more arguments than usual.
    pub(crate) async fn with_options(options: &[&str]) -> Self {
        let name = format!("event_test_{}", Uuid::new_v4().simple());
        let app = Box::pin(Self::on(&server("TEST_MONGODB_URL"), &name, options)).await;
        Box::pin(app.app.state.store.migrate()).await.unwrap();
        app
    }

    /// Another replica on the same database.
    pub(crate) async fn replica(&self) -> Self {
        Box::pin(Self::on(&server("TEST_MONGODB_URL"), self.database.name(), &[])).await
    }

    /// A replica on any database.
    pub(crate) async fn on(url: &str, name: &str, options: &[&str]) -> Self {
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
            "--change-quiet-seconds=1",
        ];
        let config = Config::try_parse_from(arguments.iter().chain(options)).unwrap();
        let app = App::with_access_keys(&config, clock.clone(), access_keys()).await.unwrap();
        let database = app.state.store.database().clone();
        let router = with_defaults(app.router(), &config.server);
        Self { app, database, clock, keys, router }
    }

    pub(crate) async fn end(self) {
        self.app.lifecycle.stop();
        self.database.drop().await.unwrap();
    }

    pub(crate) fn token(&self, user_id: i32, role: Role) -> String {
        access_token(self.clock.now(), user_id, role)
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
        self.app.state.store.find_event(event_id).await.unwrap().unwrap()
    }

    /// `available, held, sold` in the database.
    pub(crate) async fn counters(&self, event_id: &str) -> (i64, i64, i64) {
        let event = self.event(event_id).await;
        (event.available, event.held, event.sold)
    }

    /// Counters of all events equal the sums over their reservations.
    pub(crate) async fn assert_sound(&self) {
        let page = self.app.state.store.check_ledger().await.unwrap();
        assert_eq!(page.mismatches, []);
    }
}

/// How often the creation of a concert is requested: on a busy machine the database may not answer in time.
const CREATION_ATTEMPTS: u32 = 4;

/// What answers of event-service hold besides.
pub(crate) trait EventAnswer {
    /// The titles of a list's items.
    fn titles(&self) -> Vec<String>;
    /// The state of a reservation.
    fn state(&self) -> ReservationState;
}

impl EventAnswer for Answer {
    #[track_caller]
    fn titles(&self) -> Vec<String> {
        self.assert_ok()["items"].as_array().unwrap().iter().map(|item| text(&item["title"])).collect()
    }

    #[track_caller]
    fn state(&self) -> ReservationState {
        serde_json::from_value(self.assert_ok()["state"].clone()).unwrap()
    }
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}
