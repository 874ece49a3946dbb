//! The people of a test platform: they register, create events, book, pay and read what they are told.

use std::ops::Deref;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use platform::Clock;
use reqwest::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::{Api, Reply};
use crate::programs::Program;
use crate::stack::{ADMIN_EMAIL, Stack};
use crate::wait;

/// The password of every person in tests.
pub const PASSWORD: &str = "correct horse battery staple";
/// Notifications arrive within this time of recovery (design: 60 s).
const NOTIFICATION_LIMIT: Duration = Duration::from_secs(60);

/// The password of the first admin is hashed after the start, beside the hashes of everybody who logs in.
const FIRST_ADMIN_LIMIT: Duration = Duration::from_secs(60);

/// A gateway that cannot be reached now can be by then.
const PAYMENT_LIMIT: Duration = Duration::from_secs(30);

/// A card that the gateway charges.
pub const GOOD_CARD: &str = "pm_card_visa";
/// A card that the gateway declines.
pub const DECLINED_CARD: &str = "pm_card_visa_chargeDeclined";
/// A payment that settles some seconds after it was asked for.
pub const LATE_CARD: &str = "pm_mock_late";

impl Stack {
    /// Somebody who is not logged in.
    pub fn visitor(&self) -> Api {
        Api::new(&self.origin)
    }

    /// A new attendee, logged in.
    pub async fn attendee(&self) -> Result<Person> {
        Person::register(&self.visitor(), "attendee").await
    }

    /// A new organizer, logged in.
    pub async fn organizer(&self) -> Result<Person> {
        Person::register(&self.visitor(), "organizer").await
    }

    /// The first admin, logged in. A platform is ready before user-service has created that account.
    pub async fn admin(&self) -> Result<Person> {
        let users = self.database(Program::User).await?;
        // Failed logins would count against the account.
        wait::until("the first admin is created", FIRST_ADMIN_LIMIT, async || {
            let query = sqlx::query_scalar("select exists (select from users where email = $1)").bind(ADMIN_EMAIL);
            let created: bool = query.fetch_one(&users).await?;
            ensure!(created, "there is no {ADMIN_EMAIL}");
            Ok(())
        })
        .await?;
        Person::log_in(&self.visitor(), ADMIN_EMAIL, &self.secrets.read("admin-password")?).await
    }
}

/// Somebody with an account, logged in. Offers the plain requests of [`Api`] too.
#[derive(Clone)]
pub struct Person {
    /// The user's id.
    pub id: i64,
    /// The e-mail address to log in with.
    pub email: String,
    api: Api,
}

impl Deref for Person {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Person {
    /// Registers somebody under a new e-mail address and logs in.
    pub async fn register(visitor: &Api, role: &str) -> Result<Self> {
        let email = format!("{role}-{}@people.example", Uuid::new_v4().simple());
        let body = json!({ "email": email, "password": PASSWORD, "name": format!("A test {role}"), "role": role });
        visitor.post("/users/register", &body).await?.expect(StatusCode::CREATED)?;
        Self::log_in(visitor, &email, PASSWORD).await
    }

    /// Somebody who is logged in, as `api`.
    pub fn new(id: i64, email: impl Into<String>, api: Api) -> Self {
        Self { id, email: email.into(), api }
    }

    /// Logs somebody in.
    pub async fn log_in(visitor: &Api, email: &str, password: &str) -> Result<Self> {
        let body = json!({ "email": email, "password": password });
        let tokens = visitor.post("/users/login", &body).await?.expect(StatusCode::OK)?;
        let api = visitor.with_token(tokens["access_token"].as_str().context("a login without a token")?);
        let me = api.get("/users/me").await?.expect(StatusCode::OK)?;
        Ok(Self { id: number(&me, "id")?, email: email.to_owned(), api })
    }

    /// Creates an event.
    pub async fn creates(&self, event: NewEvent) -> Result<String> {
        let created = self.post("/api/events", &event.body()).await?.expect(StatusCode::CREATED)?;
        Ok(created["id"].as_str().context("an event without an id")?.to_owned())
    }

    /// Asks for seats; the answer may be a refusal.
    pub async fn asks_for(&self, event_id: &str, seats: u32) -> Result<Reply> {
        self.post("/bookings", &json!({ "event_id": event_id, "seats": seats })).await
    }

    /// Books seats and returns the booking.
    pub async fn books(&self, event_id: &str, seats: u32) -> Result<Value> {
        self.asks_for(event_id, seats).await?.expect(StatusCode::CREATED)
    }

    /// Tries to pay for a booking; the answer may be a refusal.
    pub async fn pays(&self, booking: &Value, payment_method: &str) -> Result<Reply> {
        self.post("/payments", &json!({ "booking_id": booking["id"], "payment_method": payment_method })).await
    }

    /// Pays by a card that the gateway charges, and tries again, as people do, where the answer is that nothing was
    /// charged: a busy machine lets a call to the gateway run out of time.
    pub async fn has_paid(&self, booking: &Value) -> Result<Value> {
        let deadline = Instant::now() + PAYMENT_LIMIT;
        loop {
            let reply = self.pays(booking, GOOD_CARD).await?;
            if reply.status != StatusCode::SERVICE_UNAVAILABLE.as_u16() || Instant::now() >= deadline {
                return reply.expect(StatusCode::CREATED);
            }
        }
    }

    /// The present state of a booking.
    pub async fn sees(&self, booking: &Value) -> Result<Value> {
        self.get(&format!("/bookings/{}", booking["id"])).await?.expect(StatusCode::OK)
    }

    /// Waits until a booking has that status and payment status.
    pub async fn sees_become(&self, booking: &Value, status: &str, payment: &str, limit: Duration) -> Result<Value> {
        wait::until(format!("the booking is {status}/{payment}"), limit, async || {
            let seen = self.sees(booking).await?;
            ensure!(seen["status"] == status && seen["payment_status"] == payment, "it is {seen}");
            Ok(seen)
        })
        .await
    }

    /// Waits until an event has so many seats available; reads of events may be a moment old.
    pub async fn sees_available(&self, event_id: &str, seats: u32, limit: Duration) -> Result<()> {
        wait::until(format!("{seats} seats are available"), limit, async || {
            let event = self.get(&format!("/api/events/{event_id}")).await?.expect(StatusCode::OK)?;
            ensure!(event["available"] == seats, "it is {event}");
            Ok(())
        })
        .await
    }

    /// The notifications, newest first.
    pub async fn notifications(&self) -> Result<Vec<Value>> {
        let list = self.get(&format!("/notifications/{}", self.id)).await?.expect(StatusCode::OK)?;
        Ok(list["items"].as_array().context("notifications without items")?.clone())
    }

    /// Waits for a notification of that type about a booking.
    pub async fn is_told(&self, kind: &str, booking: &Value) -> Result<Value> {
        wait::until(format!("a notification {kind}"), NOTIFICATION_LIMIT, async || {
            let all = self.notifications().await?;
            let found = all.iter().find(|told| told["type"] == kind && told["booking_id"] == booking["id"]);
            found.cloned().with_context(|| format!("there are only {}", Value::from(all.clone())))
        })
        .await
    }
}

/// An event to create: next month in Berlin, with these seats, at this price.
pub struct NewEvent {
    capacity: u32,
    fields: Map<String, Value>,
}

impl NewEvent {
    /// A free event.
    pub fn free(capacity: u32) -> Self {
        Self::priced(capacity, 0)
    }

    /// An event that costs so many euro cents a seat.
    pub fn priced(capacity: u32, price: i64) -> Self {
        Self { capacity, fields: Map::from_iter([("price".to_owned(), price.into())]) }
    }

    /// Begins in five hours, so that its tickets can be checked in.
    #[must_use]
    pub fn tonight(self) -> Self {
        let starts_at = Clock::system().now() + TimeDelta::hours(5);
        self.with("starts_at", json!(starts_at)).with("ends_at", json!(starts_at + TimeDelta::hours(2)))
    }

    /// Sets or replaces a field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// The JSON body that creates it.
    pub fn body(&self) -> Value {
        let starts_at = Clock::system().now() + TimeDelta::days(30);
        let mut body = json!({
            "title": format!("Test event {}", Uuid::new_v4().simple()),
            "description": "Made by a test.",
            "venue": "The test hall",
            "time_zone": "Europe/Berlin",
            "starts_at": starts_at,
            "ends_at": starts_at + TimeDelta::hours(2),
            "capacity": self.capacity,
            "currency": "EUR",
        });
        body.as_object_mut().expect("an object was made").extend(self.fields.clone());
        body
    }
}

/// A number of a JSON object.
pub fn number(object: &Value, field: &str) -> Result<i64> {
    object[field].as_i64().with_context(|| format!("no number {field} in {object}"))
}
