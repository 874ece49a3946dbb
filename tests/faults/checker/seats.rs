//! Invariants 1, 8 and 9: counters, the ledger of reservations, and the end of holds.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::Result;
use bson::{Document, doc};
use futures::TryStreamExt;
use mongodb::Database;
use mongodb::options::ReadConcern;
use tokio::time::Instant;

use super::Violation;
use crate::world::World;

/// The least time between two comparisons of the whole ledger.
const LEDGER_EVERY: Duration = Duration::from_secs(15);
/// That much more time passes than a comparison takes: it grows with the ledger, and keeps users waiting.
const LEDGER_SHARE: u32 = 30;

/// Looks at seats again and again, and remembers which reservations were released.
pub(super) struct Watcher {
    ledger_at: Instant,
    released: HashSet<String>,
}

impl Watcher {
    pub(super) fn new() -> Self {
        Self { ledger_at: Instant::now() + LEDGER_EVERY, released: HashSet::new() }
    }

    pub(super) async fn look(&mut self, events: &Database) -> Result<Vec<Violation>> {
        let mut violations = oversold(&counters(events).await?);
        let began = Instant::now();
        if began >= self.ledger_at {
            let (drift, states) = compare(events).await?;
            self.ledger_at = Instant::now() + LEDGER_EVERY.max(began.elapsed() * LEDGER_SHARE);
            violations.extend(drift);
            violations.extend(self.come_back(&states));
        }
        Ok(violations)
    }

    fn come_back(&mut self, states: &HashMap<String, String>) -> Vec<Violation> {
        let back = self.released.iter().filter_map(|id| {
            let state = states.get(id).map_or("gone", String::as_str);
            (state != "released").then(|| Violation::new(8, format!("reservation {id} was released and is {state}")))
        });
        let back = back.collect();
        let released = states.iter().filter(|(_, state)| *state == "released");
        self.released.extend(released.map(|(id, _)| id.clone()));
        back
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

/// How many reservations are held; none, once every hold has ended.
pub(super) async fn count_held(events: &Database) -> Result<u64> {
    Ok(events.collection::<Document>("reservations").count_documents(doc! { "state": "held" }).await?)
}

pub(super) async fn check(world: &World) -> Result<Vec<Violation>> {
    let mut violations = oversold(&counters(&world.events).await?);
    violations.extend(compare(&world.events).await?.0);
    // By the time that nothing is left to do, every hold is long over.
    if let held @ 1.. = count_held(&world.events).await? {
        violations.push(Violation::new(9, format!("{held} holds have not ended")));
    }
    Ok(violations)
}
