//! Demo accounts and events, added through the public API. What is there already stays as it is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use chrono::{DateTime, Duration, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use eventplatform_tests::api::Api;
use eventplatform_tests::secrets::Secrets;
use eventplatform_tests::wait;
use platform::Clock;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::console::Console;

pub(crate) const ADMIN_EMAIL: &str = "admin@demo.example";
const ORGANIZER_EMAIL: &str = "organizer@demo.example";
const ATTENDEE_EMAIL: &str = "attendee@demo.example";
const PASSWORD: &str = "demo-password";

/// An account to log in with.
pub(crate) struct Account {
    pub(crate) role: &'static str,
    pub(crate) email: &'static str,
    pub(crate) password: String,
}

/// The file with the password of the demo accounts.
pub(crate) fn password_file(secrets: &Secrets) -> Result<String> {
    secrets.short_password(PASSWORD)?;
    Ok(secrets.file(PASSWORD)?.to_string_lossy().into_owned())
}

/// Adds demo accounts and events to a platform that runs, through its public API.
///
/// What is there already stays as it is. Prints the accounts.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the platform is, such as http://localhost:8080
    #[arg(long)]
    origin: String,
    /// The file with the password of the demo accounts.
    #[arg(long)]
    password_file: PathBuf,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let file = &arguments.password_file;
    let password = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let console = Console::new();
    let origin = arguments.origin.trim_end_matches('/');
    add(origin, password.trim(), &console).await?;
    console.show(origin, &accounts(password.trim()));
    Ok(ExitCode::SUCCESS)
}

/// Adds what is missing and returns the accounts. A failure is reported, not fatal: the platform itself is up.
pub(crate) async fn fill(origin: &str, secrets: &Secrets, console: &Console) -> Vec<Account> {
    let password = secrets.short_password(PASSWORD).unwrap_or_default();
    if let Err(error) = add(origin, &password, console).await {
        console.warn(&format!("the demo data could not be added: {error:#}"));
    }
    accounts(&password)
}

async fn add(origin: &str, password: &str, console: &Console) -> Result<()> {
    let demo = Demo { visitor: Api::new(origin), password: password.to_owned() };
    console.step("demo accounts and events there", demo.add_missing()).await
}

fn accounts(password: &str) -> Vec<Account> {
    [("attendee", ATTENDEE_EMAIL), ("organizer", ORGANIZER_EMAIL), ("admin", ADMIN_EMAIL)]
        .map(|(role, email)| Account { role, email, password: password.to_owned() })
        .into()
}

struct Demo {
    visitor: Api,
    password: String,
}

impl Demo {
    async fn add_missing(&self) -> Result<()> {
        self.register(ATTENDEE_EMAIL, "Ada Attendee", "attendee").await?;
        self.register(ORGANIZER_EMAIL, "Otto Organizer", "organizer").await?;
        let organizer = self.log_in(ORGANIZER_EMAIL).await?;
        let now = Clock::system().now();
        let upcoming = upcoming_titles(&organizer, now).await?;
        for event in EVENTS.iter().filter(|event| !upcoming.iter().any(|title| title == event.title)) {
            let created = organizer.post("/api/events", &event.body(now)?).await?.expect(StatusCode::CREATED)?;
            if event.sold_to_attendee > 0 {
                self.buy(&created["id"], event.sold_to_attendee).await?;
            }
        }
        Ok(())
    }

    async fn register(&self, email: &str, name: &str, role: &str) -> Result<()> {
        let body = json!({ "email": email, "password": self.password, "name": name, "role": role });
        let answer = self.visitor.post("/users/register", &body).await?;
        if answer.status == StatusCode::CONFLICT.as_u16() {
            return Ok(());
        }
        answer.expect(StatusCode::CREATED).map(|_| ())
    }

    async fn log_in(&self, email: &str) -> Result<Api> {
        let body = json!({ "email": email, "password": self.password });
        let answer = self.visitor.post("/users/login", &body).await?.expect(StatusCode::OK)?;
        Ok(self.visitor.with_token(answer["access_token"].as_str().context("a login without a token")?))
    }

    async fn buy(&self, event_id: &Value, seats: u32) -> Result<()> {
        let attendee = self.log_in(ATTENDEE_EMAIL).await?;
        let body = json!({ "event_id": event_id, "seats": seats });
        let booking = attendee.post("/bookings", &body).await?.expect(StatusCode::CREATED)?;
        let body = json!({ "booking_id": booking["id"], "payment_method": "pm_card_visa" });
        wait::until("the demo booking is paid", std::time::Duration::from_secs(10), async || {
            attendee.post("/payments", &body).await?.expect(StatusCode::CREATED)
        })
        .await?;
        Ok(())
    }
}

async fn upcoming_titles(organizer: &Api, now: DateTime<Utc>) -> Result<Vec<String>> {
    let me = organizer.get("/users/me").await?.expect(StatusCode::OK)?;
    let from = now.format("%Y-%m-%dT%H:%M:%SZ");
    let path = format!("/api/events?organizer_id={}&from={from}&limit=100", me["id"]);
    let list = organizer.get(&path).await?.expect(StatusCode::OK)?;
    let items = list["items"].as_array().context("a list of events without items")?;
    Ok(items.iter().filter_map(|event| event["title"].as_str().map(str::to_owned)).collect())
}

struct DemoEvent {
    title: &'static str,
    description: &'static str,
    venue: &'static str,
    zone: Tz,
    in_days: i64,
    at: &'static str,
    hours: i64,
    capacity: u32,
    price: i64,
    currency: &'static str,
    category: &'static str,
    sold_to_attendee: u32,
}

impl DemoEvent {
    fn body(&self, now: DateTime<Utc>) -> Result<Value> {
        let day = now.with_timezone(&self.zone).date_naive() + Duration::days(self.in_days);
        let time = NaiveTime::parse_from_str(self.at, "%H:%M")?;
        let starts_at = self.zone.from_local_datetime(&day.and_time(time)).earliest();
        let starts_at = starts_at.with_context(|| format!("{} does not exist on {day}", self.at))?.to_utc();
        Ok(json!({
            "title": self.title,
            "description": self.description,
            "venue": self.venue,
            "time_zone": self.zone.name(),
            "starts_at": starts_at,
            "ends_at": starts_at + Duration::hours(self.hours),
            "capacity": self.capacity,
            "price": self.price,
            "currency": self.currency,
            "category": self.category,
        }))
    }
}

const EVENTS: [DemoEvent; 6] = [
    DemoEvent {
        title: "Jazz After Midnight",
        description: "Two sets by the Marlow Quartet in a cellar that seats eighty. Doors open an hour before the \
            first note; the bar stays open between sets.",
        venue: "The Low Door, New York",
        zone: Tz::America__New_York,
        in_days: 9,
        at: "22:30",
        hours: 3,
        capacity: 80,
        price: 4200,
        currency: "USD",
        category: "music",
        sold_to_attendee: 0,
    },
    DemoEvent {
        title: "Rust in Production",
        description: "One day, one track: teams that run Rust at scale tell what went well, what did not, and what \
            they would do again. Lunch is included.",
        venue: "Kulturbrauerei, Berlin",
        zone: Tz::Europe__Berlin,
        in_days: 24,
        at: "09:30",
        hours: 8,
        capacity: 240,
        price: 12900,
        currency: "EUR",
        category: "technology",
        sold_to_attendee: 0,
    },
    DemoEvent {
        title: "Sunrise Run Along the Tejo",
        description: "Eight easy kilometres by the river, at the pace of the slowest. Free, with coffee at the end; \
            please book so that we know how much to brew.",
        venue: "Cais do Sodré, Lisbon",
        zone: Tz::Europe__Lisbon,
        in_days: 4,
        at: "07:00",
        hours: 2,
        capacity: 60,
        price: 0,
        currency: "EUR",
        category: "sports",
        sold_to_attendee: 0,
    },
    DemoEvent {
        title: "Ten Courses at the Counter",
        description: "Chef Mori cooks for three guests at a time. The menu follows the morning's market; tell us \
            about allergies when you arrive.",
        venue: "Kappo Mori, Kyoto",
        zone: Tz::Asia__Tokyo,
        in_days: 13,
        at: "18:30",
        hours: 3,
        capacity: 3,
        price: 28000,
        currency: "JPY",
        category: "food",
        sold_to_attendee: 2,
    },
    DemoEvent {
        title: "Harbour Lights Photo Walk",
        description: "Long exposures from Observatory Hill to the Opera House, with a photographer who has walked it \
            for twenty years. Bring a tripod if you have one.",
        venue: "Observatory Hill, Sydney",
        zone: Tz::Australia__Sydney,
        in_days: 17,
        at: "19:00",
        hours: 3,
        capacity: 15,
        price: 3500,
        currency: "AUD",
        category: "arts",
        sold_to_attendee: 0,
    },
    DemoEvent {
        title: "Northern Lights and Strings",
        description: "Grieg, Sibelius and new Sámi music under a glass roof, north of the Arctic Circle. Warm clothes \
            advised, blankets provided.",
        venue: "Arctic Cathedral, Tromsø",
        zone: Tz::Europe__Oslo,
        in_days: 41,
        at: "20:00",
        hours: 2,
        capacity: 320,
        price: 49000,
        currency: "NOK",
        category: "music",
        sold_to_attendee: 0,
    },
];
