//! People, events, and what the people do with them; the same for every contender.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use eventplatform_tests::{people::GOOD_CARD, wait};
use futures::{StreamExt, TryStreamExt, stream};
use platform::{Clock, client};
use reqwest::{Client, Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::contender::Contender;

/// More than a contender has under the highest load: a late answer is an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// One person may hold a hundred seats of an event, so many people share those of the hot one.
const ATTENDEES: usize = 64;
const EVENTS: usize = 200;
const PASSWORD: &str = "a password for measuring";

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
    List,
    Detail,
    Hot,
    Pay,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::List, Self::Detail, Self::Hot, Self::Pay];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::List => "list 20 events",
            Self::Detail => "read one event",
            Self::Hot => "book one hot event",
            Self::Pay => "book and pay, 200 events",
        }
    }
}

/// People with accounts at a contender, and events.
pub(crate) struct Crowd {
    http: Client,
    places: [String; 4],
    organizer: Person,
    attendees: Vec<Person>,
    events: Arc<[String]>,
}

struct Person {
    id: i64,
    token: String,
    last_paid: Mutex<Option<i64>>,
}

/// A scenario at work, with the events that it is about.
#[derive(Clone)]
pub(crate) struct Operation {
    crowd: Arc<Crowd>,
    scenario: Scenario,
    events: Arc<[String]>,
}

#[derive(Clone, Copy)]
enum Place {
    Users,
    Events,
    Bookings,
    Notifications,
}

impl Crowd {
    /// Registers everybody and creates the events.
    pub(crate) async fn gather(contender: &Contender) -> Result<Arc<Self>> {
        let places = [&contender.users, &contender.events, &contender.bookings, &contender.notifications];
        let nobody = Person { id: 0, token: String::new(), last_paid: Mutex::default() };
        let mut crowd = Self {
            http: client::build(PATIENCE),
            places: places.map(Clone::clone),
            organizer: nobody,
            attendees: Vec::new(),
            events: Arc::default(),
        };
        crowd.organizer = crowd.register("organizer").await?;
        let register = stream::iter(0..ATTENDEES).map(|_| crowd.register("attendee"));
        crowd.attendees = register.buffer_unordered(4).try_collect().await?;
        crowd.events = crowd.create_events(EVENTS).await?;
        Ok(Arc::new(crowd))
    }

    /// The scenario, on an event of its own if it is about a hot one.
    pub(crate) async fn operation(self: &Arc<Self>, scenario: Scenario) -> Result<Operation> {
        let events = match scenario {
            Scenario::Hot => self.create_events(1).await?,
            Scenario::List | Scenario::Detail | Scenario::Pay => self.events.clone(),
        };
        Ok(Operation { crowd: self.clone(), scenario, events })
    }

    /// Waits until everybody was notified of the last booking that they paid.
    pub(crate) async fn is_told(&self) -> Result<()> {
        for person in &self.attendees {
            let Some(booking) = person.last_paid().take() else { continue };
            let path = format!("/notifications/{}?limit=20", person.id);
            wait::until("the last notification", PATIENCE, async || {
                let list = self.send(Place::Notifications, Method::GET, &path, person, None, StatusCode::OK).await?;
                let list: Value = serde_json::from_slice(&list)?;
                let items = list["items"].as_array().context("notifications without items")?;
                ensure!(items.iter().any(|item| item["booking_id"] == booking), "none of booking {booking} in {list}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn register(&self, role: &str) -> Result<Person> {
        let stranger = Person { id: 0, token: String::new(), last_paid: Mutex::default() };
        let email = format!("{}@bench.example", Uuid::new_v4().simple());
        let account = json!({ "email": email, "password": PASSWORD, "name": "Bench", "role": role });
        let user = self.post(Place::Users, "/users/register", &stranger, &account, StatusCode::CREATED).await?;
        let credentials = json!({ "email": email, "password": PASSWORD });
        let session = self.post(Place::Users, "/users/login", &stranger, &credentials, StatusCode::OK).await?;
        let id = user["id"].as_i64().context("a user without an id")?;
        let token = session["access_token"].as_str().context("a login without a token")?.to_owned();
        Ok(Person { id, token, ..stranger })
    }

    async fn create_events(&self, count: usize) -> Result<Arc<[String]>> {
        let create = async |n: usize| {
            let event = new_event(n);
            let made = self.post(Place::Events, "/api/events", &self.organizer, &event, StatusCode::CREATED).await?;
            anyhow::Ok(made["id"].as_str().context("an event without an id")?.to_owned())
        };
        let ids: Vec<String> = stream::iter(0..count).map(create).buffer_unordered(4).try_collect().await?;
        Ok(ids.into())
    }

    async fn post(&self, place: Place, path: &str, by: &Person, body: &Value, expected: StatusCode) -> Result<Value> {
        let answer = self.send(place, Method::POST, path, by, Some(body), expected).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// The body of the expected answer. What changes something has a key, as the requests of the site have.
    async fn send(
        &self,
        place: Place,
        method: Method,
        path: &str,
        by: &Person,
        body: Option<&Value>,
        expected: StatusCode,
    ) -> Result<Vec<u8>> {
        let mut request = self.http.request(method, format!("{}{path}", self.places[place as usize]));
        if !by.token.is_empty() {
            request = request.bearer_auth(&by.token);
        }
        if let Some(body) = body {
            request = request.json(body).header("idempotency-key", Uuid::new_v4().to_string());
        }
        let answer = request.send().await?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        ensure!(status == expected, "{path}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(body.into())
    }
}

impl Operation {
    /// Does it for the `n`th time, as the next attendee with the next event.
    pub(crate) async fn run(&self, n: usize) -> Result<()> {
        let crowd = &self.crowd;
        let (person, event) = (&crowd.attendees[n % ATTENDEES], &self.events[n % self.events.len()]);
        let read = async |path: &str| {
            crowd.send(Place::Events, Method::GET, path, person, None, StatusCode::OK).await.map(drop)
        };
        match self.scenario {
            Scenario::List => read("/api/events?limit=20").await,
            Scenario::Detail => read(&format!("/api/events/{event}")).await,
            Scenario::Hot => self.book(person, event).await.map(drop),
            Scenario::Pay => {
                let booking = self.book(person, event).await?;
                let payment = json!({ "booking_id": booking, "payment_method": GOOD_CARD });
                crowd.post(Place::Bookings, "/payments", person, &payment, StatusCode::CREATED).await?;
                *person.last_paid() = Some(booking);
                Ok(())
            }
        }
    }

    async fn book(&self, person: &Person, event: &str) -> Result<i64> {
        let booking = json!({ "event_id": event, "seats": 1 });
        let booking = self.crowd.post(Place::Bookings, "/bookings", person, &booking, StatusCode::CREATED).await?;
        booking["id"].as_i64().context("a booking without an id")
    }
}

impl Person {
    fn last_paid(&self) -> std::sync::MutexGuard<'_, Option<i64>> {
        self.last_paid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_event(n: usize) -> Value {
    let now = Clock::system().now();
    json!({
        "title": format!("Measured evening {n}"), "description": "An event to measure with.",
        "venue": "Old Town Hall", "time_zone": "Europe/Berlin",
        "starts_at": now + chrono::TimeDelta::days(30), "ends_at": now + chrono::TimeDelta::days(31),
        "capacity": 1_000_000, "max_seats_per_booking": 100, "price": 1_500, "currency": "EUR", "category": "music",
    })
}
