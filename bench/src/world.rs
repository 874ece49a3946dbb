//! A platform to measure: accounts, events, tokens, and the processes that it consists of.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, ensure};
use eventplatform_tests::{
    api::Api,
    programs::Program,
    stack::{Options, Stack},
};
use futures::{StreamExt, TryStreamExt, stream};
use platform::{Clock, auth::ServiceTokenSigner};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::process;

/// Password of every account.
pub(crate) const PASSWORD: &str = "a password for measuring";
/// Attendees that take turns.
const ATTENDEES: usize = 8;

/// A running platform with people in it.
pub(crate) struct World {
    pub(crate) stack: Stack,
    /// Nobody, at no address yet; see [`World::at`].
    api: Api,
    organizer: String,
    attendees: Vec<String>,
    service_tokens: ServiceTokenSigner,
    next_attendee: AtomicUsize,
}

impl World {
    /// Starts a platform whose event-service commits up to `batch_max` requests at once.
    pub(crate) async fn start(batch_max: u32) -> anyhow::Result<Self> {
        let environment = vec![
            (Program::Event, "BATCH_MAX", batch_max.to_string()),
            (Program::User, "LOG_LEVEL", "warn".to_owned()),
            (Program::Event, "LOG_LEVEL", "warn".to_owned()),
            (Program::Booking, "LOG_LEVEL", "warn".to_owned()),
            (Program::Notification, "LOG_LEVEL", "warn".to_owned()),
        ];
        let stack = Stack::start(Options { own_servers: true, environment, ..Options::default() }).await?;
        let service_tokens =
            ServiceTokenSigner::from_file("booking-service", &stack.secrets.service_key(), Clock::system())?;
        let api = Api::new(stack.origin.clone());
        let organizer = account(&api, "organizer@bench.example", "organizer").await?;
        let mut attendees = Vec::new();
        for n in 0..ATTENDEES {
            attendees.push(account(&api, &attendee_email(n), "attendee").await?);
        }
        Ok(Self { stack, api, organizer, attendees, service_tokens, next_attendee: AtomicUsize::new(0) })
    }

    /// Somebody without a token at a program's own address, past the origin's proxy.
    pub(crate) fn at(&self, program: Program) -> Api {
        self.api.at(format!("http://{}", self.stack.program(program).address))
    }

    /// booking-service at event-service.
    pub(crate) fn as_booking_service(&self) -> Api {
        self.at(Program::Event).with_token(self.service_tokens.token("event-service"))
    }

    /// The attendees in turn, at booking-service.
    pub(crate) fn as_attendee(&self) -> Api {
        let turn = self.next_attendee.fetch_add(1, Ordering::Relaxed) % self.attendees.len();
        self.at(Program::Booking).with_token(self.attendees[turn].clone())
    }

    /// Creates `count` events with that price and a million seats each; their ids.
    pub(crate) async fn events(&self, count: usize, price: i64) -> anyhow::Result<Vec<String>> {
        let organizer = self.at(Program::Event).with_token(self.organizer.clone());
        let create = |n: usize| {
            let organizer = organizer.clone();
            async move {
                let event = organizer.post("/api/events", &new_event(n, price)).await?.expect(StatusCode::CREATED)?;
                anyhow::Ok(event["id"].as_str().context("an event without an id")?.to_owned())
            }
        };
        stream::iter(0..count).map(create).buffer_unordered(8).try_collect().await
    }

    /// The processes of the platform: name and process id. Servers stand with their children.
    pub(crate) async fn processes(&self) -> anyhow::Result<BTreeMap<&'static str, Vec<u32>>> {
        let mut processes = BTreeMap::new();
        for program in Program::ALL {
            let pid = self.stack.program(program).pid().await.context("a program has ended")?;
            processes.insert(program.name(), vec![u32::try_from(pid)?]);
        }
        let servers = [
            ("PostgreSQL", self.stack.postgres.as_ref().context("no PostgreSQL")?.pid().await),
            ("MongoDB", self.stack.mongodb.as_ref().context("no MongoDB")?.pid().await),
            ("RabbitMQ", self.stack.rabbitmq.pid().await),
        ];
        for (name, pid) in servers {
            processes.insert(name, process::tree(u32::try_from(pid.context("a server has ended")?)?));
        }
        Ok(processes)
    }

    /// Processor seconds that each part has used so far.
    pub(crate) async fn cpu(&self) -> anyhow::Result<BTreeMap<&'static str, f64>> {
        let processes = self.processes().await?;
        Ok(processes.into_iter().map(|(name, pids)| (name, pids.into_iter().map(process::cpu_seconds).sum())).collect())
    }
}

/// The address of attendee number `n`.
pub(crate) fn attendee_email(n: usize) -> String {
    format!("attendee{}@bench.example", n % ATTENDEES)
}

async fn account(api: &Api, email: &str, role: &str) -> anyhow::Result<String> {
    let new = json!({"email": email, "password": PASSWORD, "name": "Bench", "role": role});
    api.post("/users/register", &new).await?.expect(StatusCode::CREATED)?;
    let login = api.post("/users/login", &json!({"email": email, "password": PASSWORD})).await?;
    let answer = login.expect(StatusCode::OK)?;
    ensure!(answer["access_token"].is_string(), "no access token in {answer}");
    Ok(answer["access_token"].as_str().unwrap_or_default().to_owned())
}

fn new_event(n: usize, price: i64) -> Value {
    let now = Clock::system().now();
    json!({
        "title": format!("Measured evening {n}"), "description": "An event to measure with.",
        "venue": "Old Town Hall", "time_zone": "Europe/Berlin",
        "starts_at": now + chrono::TimeDelta::days(30), "ends_at": now + chrono::TimeDelta::days(31),
        "capacity": 1_000_000, "max_seats_per_booking": 100, "price": price, "currency": "EUR", "category": "music",
    })
}
