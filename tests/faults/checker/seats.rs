//! Invariants 1, 8 and 9: counters, the ledger of reservations, and the end of holds.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use bson::{DateTime, Document, doc};
use futures::TryStreamExt;
use mongodb::Database;
use mongodb::options::ReadConcern;
use tokio::time::Instant;

use super::Violation;
use crate::journal::Journal;
use crate::world::World;

/// What is counted when the counters were looked at.
pub(crate) const LOOKED: &str = "looked at the seats";
/// The least time between two comparisons of the whole ledger.
const LEDGER_EVERY: Duration = Duration::from_secs(15);
/// The pause after a comparison, as a multiple of its duration, which grows with the ledger and slows users down.
const LEDGER_SHARE: u32 = 30;
/// A hold is given back within this time of its end.
pub(super) const OVERDUE: Duration = Duration::from_secs(30);
/// So much later while things break: what keeps event-service from it lasts for up to 22 s.
const OVERDUE_MEANWHILE: Duration = Duration::from_secs(60);

/// Looks at seats again and again, and remembers how each reservation was seen last.
pub(crate) struct Watcher {
    ledger_at: Instant,
    states: HashMap<String, String>,
}

impl Watcher {
    pub(crate) fn new() -> Self {
        Self { ledger_at: Instant::now() + LEDGER_EVERY, states: HashMap::new() }
    }

    /// Looks at the counters and at overdue holds, and now and then at the ledger. Fails where the database does not
    /// answer.
    pub(super) async fn look(&mut self, events: &Database, journal: &Journal) -> Result<()> {
        journal.violated(oversold(&counters(events).await?));
        journal.violated(overdue(events, OVERDUE_MEANWHILE).await?);
        journal.count(LOOKED);
        let began = Instant::now();
        if began >= self.ledger_at {
            journal.violated(self.look_at_ledger(events).await?);
            journal.count("looked at the ledger");
            self.ledger_at = Instant::now() + LEDGER_EVERY.max(began.elapsed() * LEDGER_SHARE);
        }
        Ok(())
    }

    /// Invariants 1, 8 and 12: what is wrong with the ledger, and with the way it went since the last look.
    pub(super) async fn look_at_ledger(&mut self, events: &Database) -> Result<Vec<Violation>> {
        let (mut violations, states) = compare(events).await?;
        for (id, before) in &self.states {
            let now = states.get(id).map_or("gone", String::as_str);
            let allowed = match before.as_str() {
                "held" => now != "gone",
                "confirmed" => ["confirmed", "released"].contains(&now),
                _ => now == before,
            };
            if !allowed {
                let invariant = if before == "released" { 8 } else { 12 };
                violations.push(Violation::new(invariant, format!("reservation {id} was {before} and is {now}")));
            }
        }
        self.states = states;
        Ok(violations)
    }
}

struct Counters {
    event_id: String,
    capacity: i64,
    available: i64,
    held: i64,
    sold: i64,
}

fn read_counters(event: &Document) -> Result<Counters> {
    Ok(Counters {
        event_id: event.get_str("_id")?.to_owned(),
        capacity: event.get_i64("capacity")?,
        available: event.get_i64("available")?,
        held: event.get_i64("held")?,
        sold: event.get_i64("sold")?,
    })
}

async fn counters(events: &Database) -> Result<Vec<Counters>> {
    let found: Vec<Document> = events.collection::<Document>("events").find(doc! {}).await?.try_collect().await?;
    found.iter().map(read_counters).collect()
}

fn oversold(all: &[Counters]) -> Vec<Violation> {
    let wrong = |c: &&Counters| c.available < 0 || c.available + c.held + c.sold != c.capacity;
    let report = |c: &Counters| {
        let Counters { event_id, capacity, available, held, sold } = c;
        Violation::new(1, format!("event {event_id}: {available} + {held} + {sold} of {capacity} seats"))
    };
    all.iter().filter(wrong).map(report).collect()
}

/// Compares counters and ledger in one snapshot; gives the state of every reservation too.
async fn compare(events: &Database) -> Result<(Vec<Violation>, HashMap<String, String>)> {
    let mut session = events.client().start_session().await?;
    session.start_transaction().read_concern(ReadConcern::snapshot()).await?;
    let mut found = events.collection::<Document>("events").find(doc! {}).session(&mut session).await?;
    let all: Vec<Document> = found.stream(&mut session).try_collect().await?;
    let mut found = events.collection::<Document>("reservations").find(doc! {}).session(&mut session).await?;
    let reservations: Vec<Document> = found.stream(&mut session).try_collect().await?;
    session.abort_transaction().await?;

    let (mut sums, mut states) = (HashMap::<(String, String), i64>::new(), HashMap::new());
    for reservation in &reservations {
        let state = reservation.get_str("state")?.to_owned();
        *sums.entry((reservation.get_str("event_id")?.to_owned(), state.clone())).or_default() +=
            reservation.get_i64("seats")?;
        states.insert(reservation.get_str("_id")?.to_owned(), state);
    }
    let mut violations = Vec::new();
    for event in &all {
        let Counters { event_id, held, sold, .. } = read_counters(event)?;
        let sum = |state: &str| sums.get(&(event_id.clone(), state.to_owned())).copied().unwrap_or_default();
        if (sum("held"), sum("confirmed")) != (held, sold) {
            let (held_sum, sold_sum) = (sum("held"), sum("confirmed"));
            let what = format!("event {event_id} counts {held} held, {sold} sold; its ledger {held_sum}, {sold_sum}");
            violations.push(Violation::new(1, what));
        }
    }
    Ok((violations, states))
}

/// Invariant 14: people who have more seats of an event than one person may have.
async fn beyond_a_person(events: &Database) -> Result<Vec<Violation>> {
    let limits: Vec<Document> = events.collection::<Document>("events").find(doc! {}).await?.try_collect().await?;
    let mut seats = HashMap::<(String, i32), i64>::new();
    let taken = doc! { "state": { "$in": ["held", "confirmed"] }, "user_id": { "$exists": true } };
    let taken = events.collection::<Document>("reservations").find(taken).await?;
    let taken: Vec<Document> = taken.try_collect().await?;
    for reservation in &taken {
        let person = (reservation.get_str("event_id")?.to_owned(), reservation.get_i32("user_id")?);
        *seats.entry(person).or_default() += reservation.get_i64("seats")?;
    }
    let mut violations = Vec::new();
    for event in &limits {
        let id = event.get_str("_id")?;
        let free = event.get_i64("price")? == 0;
        let of_booking = free.then_some(event.get_i64("max_seats_per_booking")?);
        let Some(most) = event.get_i64("max_seats_per_person").ok().or(of_booking) else { continue };
        let beyond = seats.iter().filter(|((event_id, _), seats)| event_id == id && **seats > most);
        violations.extend(beyond.map(|((_, person), seats)| {
            Violation::new(14, format!("user {person} has {seats} seats of event {id}, of {most} at most"))
        }));
    }
    Ok(violations)
}

/// How many reservations are held; none, once every hold has ended.
pub(super) async fn count_held(events: &Database) -> Result<u64> {
    Ok(events.collection::<Document>("reservations").count_documents(doc! { "state": "held" }).await?)
}

/// Invariant 9: holds that ended longer ago than that and were not given back.
pub(super) async fn overdue(events: &Database, by: Duration) -> Result<Vec<Violation>> {
    let long_ago = DateTime::from_millis(DateTime::now().timestamp_millis() - i64::try_from(by.as_millis())?);
    let over = doc! { "state": "held", "expires_at": { "$lt": long_ago } };
    let found: Vec<Document> = events.collection::<Document>("reservations").find(over).await?.try_collect().await?;
    let report = |hold: &Document| {
        let (id, expires_at) = (hold.get_str("_id")?, hold.get_datetime("expires_at")?);
        Ok(Violation::new(9, format!("reservation {id} is held, and ran out at {expires_at}")))
    };
    found.iter().map(report).collect()
}

pub(super) async fn check(world: &World, watcher: &mut Watcher) -> Result<Vec<Violation>> {
    let mut violations = oversold(&counters(&world.events).await?);
    violations.extend(watcher.look_at_ledger(&world.events).await?);
    // By the time that nothing is left to do, every hold is long over.
    violations.extend(beyond_a_person(&world.events).await?);
    if let held @ 1.. = count_held(&world.events).await? {
        violations.push(Violation::new(9, format!("{held} holds have not ended")));
    }
    Ok(violations)
}
