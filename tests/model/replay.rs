//! Sequences replayed on the real services: after every command, what can be seen of the platform is what the model
//! says, once nothing is under way any more.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bson::{DateTime, Document, doc};
use eventplatform_tests::api::Reply;
use eventplatform_tests::people::{NewEvent, Person, number};
use eventplatform_tests::programs::Program;
use eventplatform_tests::stack::{Options, Stack};
use eventplatform_tests::wait;
use mongodb::Database;
use proptest::test_runner::TestCaseError;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::machine::{Answer, Card, Command, Step, World};
use crate::scenario::{PEOPLE, Scenario, scenarios};
use crate::{number as setting, runner};

/// Sequences replayed unless `MODEL_CASES` says otherwise.
const CASES: u64 = 10;
/// Commands of one sequence at most.
pub(crate) const COMMANDS: usize = 16;
/// The longest that the platform may take to get where a command leads.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn sequences_replayed_on_the_services_lead_where_the_model_says() {
    let cases = u32::try_from(setting("MODEL_CASES").unwrap_or(CASES)).unwrap();
    let runtime = Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::set()).unwrap();

    let result = runner(cases).run(&scenarios(COMMANDS), |scenario| {
        runtime.block_on(stage.replay(&scenario)).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });

    runtime.block_on(stage.platform.stop()).unwrap();
    result.unwrap();
}

/// A platform, and the people who use it.
struct Stage {
    platform: Stack,
    organizer: Person,
    people: Vec<Person>,
    seats: Database,
    bookings: PgPool,
    gateway: PgPool,
}

/// One sequence on its way.
struct Replay<'a> {
    stage: &'a Stage,
    world: World,
    events: Vec<String>,
    bookings: Vec<i64>,
    requests: Vec<Request>,
    /// Id and code of each ticket of a booking, as its owner saw them before it was void.
    tickets: HashMap<i64, Vec<(i64, String)>>,
}

/// A request that may come again.
struct Request {
    person: usize,
    path: &'static str,
    key: String,
    body: Value,
    reply: Reply,
}

/// What can be seen of a sequence's bookings and events.
#[derive(Debug, PartialEq)]
struct Sight {
    bookings: Vec<Standing>,
    /// Available, held and sold seats of each event.
    events: Vec<(i64, i64, i64)>,
}

/// What can be seen of a booking.
#[derive(Debug, PartialEq)]
struct Standing {
    status: String,
    money: String,
    /// The states of its tickets, by seat.
    tickets: Vec<String>,
    charges: Vec<i64>,
    refunds: Vec<i64>,
}

impl Stage {
    async fn set() -> Result<Self> {
        let environment = vec![
            // Holds end and late payments settle when the sequence says so.
            (Program::Booking, "HOLD_SECONDS", "3600".to_owned()),
            (Program::MockGateway, "LATE_SECONDS", "3600".to_owned()),
            (Program::Booking, "PAYMENT_TIMEOUT_SECONDS", "1".to_owned()),
            // Tickets are checked in on the day of the event, and bookings are cancelled until it starts.
            (Program::Booking, "CANCEL_DEADLINE_HOURS", "0".to_owned()),
        ];
        let platform = Stack::start(Options { environment, ..Options::default() }).await?;
        let organizer = platform.organizer().await?;
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            people.push(platform.attendee().await?);
        }
        let seats = platform.documents(Program::Event).await?;
        let bookings = platform.database(Program::Booking).await?;
        let gateway = platform.database(Program::MockGateway).await?;
        Ok(Self { platform, organizer, people, seats, bookings, gateway })
    }

    async fn replay(&self, scenario: &Scenario) -> Result<()> {
        let mut events = Vec::new();
        for event in &scenario.events {
            let limited = NewEvent::priced(event.capacity, event.price)
                .tonight()
                .with("max_seats_per_booking", event.most_per_booking)
                .with("max_seats_per_person", event.most_per_person);
            events.push(self.organizer.creates(limited).await?);
        }
        let world = World::new(scenario.events.clone());
        let (bookings, requests, tickets) = (Vec::new(), Vec::new(), HashMap::new());
        let mut replay = Replay { stage: self, world, events, bookings, requests, tickets };
        for (number, command) in scenario.commands.iter().enumerate() {
            replay.step(command).await.with_context(|| format!("command {number}: {command:?}"))?;
        }
        replay.everybody_is_told().await
    }
}

impl Replay<'_> {
    async fn step(&mut self, command: &Command) -> Result<()> {
        let step = self.world.apply(command);
        match (command, step) {
            (_, Step::Nothing) => return Ok(()),
            (Command::Book { person, event, seats }, Step::Asked(_, answer)) => {
                let event_id = &self.events[event % self.events.len()];
                let body = json!({ "event_id": event_id, "seats": seats });
                let reply = self.ask(*person, "/bookings", body, answer).await?;
                match answer.0 {
                    201 => {
                        let id = number(&reply.body, "id")?;
                        self.bookings.push(id);
                    }
                    429 => {}
                    _ => {
                        let id = self.newest_booking(*person).await?;
                        self.bookings.push(id);
                    }
                }
            }
            (Command::Pay { card, .. }, Step::Asked(booking, answer)) => {
                let body = json!({ "booking_id": self.bookings[booking], "payment_method": card.token() });
                self.ask(self.world.bookings[booking].person, "/payments", body, answer).await?;
            }
            (Command::Cancel { .. }, Step::Asked(booking, answer)) => {
                let person = &self.stage.people[self.world.bookings[booking].person];
                let path = format!("/bookings/{}/cancel", self.bookings[booking]);
                is_answered(&person.post(&path, &json!({})).await?, answer)?;
            }
            (Command::Repeat { .. }, Step::Asked(request, answer)) => {
                let Request { person, path, key, body, reply } = &self.requests[request];
                let again = self.stage.people[*person].post_once(path, key, body).await?;
                is_answered(&again, answer)?;
                ensure!(again.body == reply.body, "{} was {} before", again.body, reply.body);
            }
            (Command::HoldsEnd, _) => self.end_holds().await?,
            (Command::Settle { .. }, Step::Happens(booking)) => self.settle(booking).await?,
            (Command::CallOff { .. }, Step::Asked(event, answer)) => {
                let path = format!("/api/events/{}", self.events[event]);
                let reply = self.stage.organizer.patch(&path, &json!({ "status": "cancelled" })).await?;
                is_answered(&reply, answer)?;
            }
            (Command::CheckIn { seat, .. }, Step::Asked(booking, answer)) => {
                let (_, code) = self.ticket(booking, *seat)?;
                let scan = json!({ "event_id": self.events[self.world.bookings[booking].event], "code": code });
                is_answered(&self.stage.organizer.post("/tickets/check-ins", &scan).await?, answer)?;
            }
            (Command::UndoCheckIn { seat, .. }, Step::Asked(booking, answer)) => {
                let (id, _) = self.ticket(booking, *seat)?;
                let path = format!("/tickets/check-ins/{id}");
                is_answered(&self.stage.organizer.delete(&path).await?, answer)?;
            }
            (command, step) => bail!("the model answers {command:?} with {step:?}"),
        }
        self.gets_where_the_model_is().await?;
        self.note_tickets().await
    }

    async fn ask(&mut self, person: usize, path: &'static str, body: Value, answer: Answer) -> Result<&Reply> {
        let key = Uuid::new_v4().to_string();
        let reply = self.stage.people[person].post_once(path, &key, &body).await?;
        is_answered(&reply, answer)?;
        self.requests.push(Request { person, path, key, body, reply });
        Ok(&self.requests.last().expect("one was pushed").reply)
    }

    /// A ticket of a booking, as its owner saw it; the seat goes around, as in the model.
    fn ticket(&self, booking: usize, seat: usize) -> Result<&(i64, String)> {
        let tickets = self.tickets.get(&self.bookings[booking]).context("the owner has seen no tickets")?;
        tickets.get(seat % tickets.len()).context("a booking without tickets")
    }

    /// Notes the tickets that owners see.
    async fn note_tickets(&mut self) -> Result<()> {
        for person in &self.stage.people {
            let list = person.get("/bookings?limit=100").await?.expect(StatusCode::OK)?;
            for booking in list["items"].as_array().context("bookings without items")? {
                let tickets = booking["tickets"].as_array().into_iter().flatten();
                let live = tickets.filter(|ticket| ticket["code"].is_string());
                let seen = live.map(|ticket| Ok((number(ticket, "id")?, word(ticket, "code")?)));
                let seen: Vec<_> = seen.collect::<Result<_>>()?;
                if !seen.is_empty() {
                    self.tickets.insert(number(booking, "id")?, seen);
                }
            }
        }
        Ok(())
    }

    async fn newest_booking(&self, person: usize) -> Result<i64> {
        let list = self.stage.people[person].get("/bookings?limit=1").await?.expect(StatusCode::OK)?;
        number(&list["items"][0], "id")
    }

    /// The time of every hold is over, by the clocks of both databases.
    async fn end_holds(&self) -> Result<()> {
        let held = doc! { "event_id": { "$in": &self.events }, "state": "held" };
        let over = doc! { "$set": { "expires_at": DateTime::from_millis(0) } };
        self.stage.seats.collection::<Document>("reservations").update_many(held, over).await?;
        sqlx::query(
            "update bookings set expires_at = now() - interval '1 second', next_check_at = now()
             where event_id = any($1) and status = 'Pending' and expires_at is not null",
        )
        .bind(&self.events)
        .execute(&self.stage.bookings)
        .await?;
        Ok(())
    }

    /// The gateway gets to the payment that it left open.
    async fn settle(&self, booking: usize) -> Result<()> {
        let due =
            sqlx::query("update payment_intents set settle_at = now() where booking_id = $1 and settle_at is not null")
                .bind(self.bookings[booking].to_string())
                .execute(&self.stage.gateway)
                .await?;
        ensure!(due.rows_affected() == 1, "{} payments are open", due.rows_affected());
        Ok(())
    }

    async fn gets_where_the_model_is(&self) -> Result<()> {
        let wanted = self.imagined();
        wait::until("the services get where the model is", LIMIT, async || {
            let seen = self.seen().await?;
            ensure!(seen == wanted, "seen: {seen:?}\nmodel: {wanted:?}");
            Ok(())
        })
        .await
    }

    fn imagined(&self) -> Sight {
        let bookings = self.world.bookings.iter().map(|it| Standing {
            status: format!("{:?}", it.status),
            money: format!("{:?}", it.money),
            tickets: it.tickets.iter().map(|ticket| format!("{ticket:?}").to_lowercase()).collect(),
            charges: it.charges.clone(),
            refunds: it.refunds.clone(),
        });
        let events = self.world.events.iter().enumerate().map(|(number, event)| {
            let (held, sold) = self.world.seats(number);
            (i64::from(event.capacity - held - sold), i64::from(held), i64::from(sold))
        });
        Sight { bookings: bookings.collect(), events: events.collect() }
    }

    async fn seen(&self) -> Result<Sight> {
        let mut standings = BTreeMap::new();
        for person in &self.stage.people {
            let list = person.get("/bookings?limit=100").await?.expect(StatusCode::OK)?;
            for booking in list["items"].as_array().context("bookings without items")? {
                let tickets = booking["tickets"].as_array().into_iter().flatten();
                let tickets = tickets.map(|ticket| word(ticket, "state")).collect::<Result<Vec<_>>>()?;
                let standing = (word(booking, "status")?, word(booking, "payment_status")?, tickets);
                standings.insert(number(booking, "id")?, standing);
            }
        }
        let mut bookings = Vec::new();
        for id in &self.bookings {
            let (status, money, tickets) = standings.remove(id).with_context(|| format!("no booking {id}"))?;
            let (charges, refunds) = (self.moved("charge", *id).await?, self.moved("refund", *id).await?);
            bookings.push(Standing { status, money, tickets, charges, refunds });
        }
        let mut events = Vec::new();
        for id in &self.events {
            let found = self.stage.seats.collection::<Document>("events").find_one(doc! { "_id": id }).await?;
            let event = found.with_context(|| format!("no event {id}"))?;
            events.push((event.get_i64("available")?, event.get_i64("held")?, event.get_i64("sold")?));
        }
        Ok(Sight { bookings, events })
    }

    /// What the gateway's ledger says of a booking.
    async fn moved(&self, kind: &str, booking: i64) -> Result<Vec<i64>> {
        let amounts = sqlx::query_scalar("select amount from ledger_entries where kind = $1 and booking_id = $2");
        Ok(amounts.bind(kind).bind(booking.to_string()).fetch_all(&self.stage.gateway).await?)
    }

    /// Every owner has the notifications that the model says, and no other; and all is still as it was.
    async fn everybody_is_told(&self) -> Result<()> {
        let mut wanted: Vec<_> = self.world.bookings.iter().map(|booking| booking.told.clone()).collect();
        for told in &mut wanted {
            told.sort_unstable();
        }
        wait::until("everybody is told", LIMIT, async || {
            let mut told: Vec<Vec<String>> = vec![Vec::new(); self.bookings.len()];
            for person in &self.stage.people {
                let path = format!("/notifications/{}?limit=100", person.id);
                let list = person.get(&path).await?.expect(StatusCode::OK)?;
                for item in list["items"].as_array().context("notifications without items")? {
                    let booking = self.bookings.iter().position(|id| item["booking_id"] == *id);
                    let kind = word(item, "type")?;
                    if let Some(booking) = booking.filter(|_| kind.starts_with("booking.")) {
                        told[booking].push(kind);
                    }
                }
            }
            for kinds in &mut told {
                kinds.sort_unstable();
            }
            ensure!(told == wanted, "told: {told:?}\nmodel: {wanted:?}");
            Ok(())
        })
        .await?;
        let (seen, imagined) = (self.seen().await?, self.imagined());
        ensure!(seen == imagined, "in the end: {seen:?}\nmodel: {imagined:?}");
        Ok(())
    }
}

fn is_answered(reply: &Reply, (status, code): Answer) -> Result<()> {
    let told = reply.body["code"].as_str();
    ensure!(reply.status == status && told == code, "answered {} {}, not {status} {code:?}", reply.status, reply.body);
    Ok(())
}

fn word(object: &Value, field: &str) -> Result<String> {
    Ok(object[field].as_str().with_context(|| format!("no word {field} in {object}"))?.to_owned())
}

impl Card {
    /// Its name at the mock gateway.
    fn token(self) -> &'static str {
        match self {
            Self::Good => "pm_card_visa",
            Self::Silent => "pm_mock_timeout",
            Self::Declined => "pm_card_visa_chargeDeclined",
            Self::Failing => "pm_mock_error",
            Self::Unknown => "pm_of_nobody",
            Self::Late => "pm_mock_late",
            Self::LateDeclined => "pm_mock_late_chargeDeclined",
        }
    }
}
