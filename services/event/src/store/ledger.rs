//! The ledger: expired holds, and the comparison of counters with the sums over reservations.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bson::{DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use contracts::reservation::{ReservationEntry, ReservationPage, ReservationState};
use futures::TryStreamExt;
use mongodb::{
    ClientSession,
    error::{Error, Result},
    options::ReadConcern,
};
use platform::mongo::bounded;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Store, query, until_earliest};

const CHECK_TIMEOUT: Duration = Duration::from_secs(50);

/// Numbers of seats.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seats {
    pub held: i64,
    pub sold: i64,
}

/// An event whose counters are not the sums over its reservations.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct LedgerMismatch {
    pub event_id: String,
    /// 0 if there is no such event.
    pub capacity: i64,
    pub available: i64,
    pub counters: Seats,
    /// The sums over its reservations.
    pub ledger: Seats,
}

/// The result of one comparison.
#[derive(Clone, Debug)]
pub struct LedgerPage {
    /// Ids of the events that were compared.
    pub checked: Vec<String>,
    pub mismatches: Vec<LedgerMismatch>,
}

#[derive(Deserialize)]
struct EventCounters {
    #[serde(rename = "_id")]
    id: String,
    capacity: i64,
    available: i64,
    #[serde(flatten)]
    counters: Seats,
}

#[derive(Deserialize)]
struct Sum {
    #[serde(rename = "_id")]
    key: SumKey,
    seats: i64,
}

#[derive(Deserialize)]
struct SumKey {
    event_id: String,
    state: ReservationState,
}

#[derive(Deserialize)]
struct Expired {
    #[serde(rename = "_id")]
    id: String,
    event_id: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "_id")]
    id: String,
    event_id: String,
    seats: i64,
    state: ReservationState,
}

impl TryFrom<Entry> for ReservationEntry {
    type Error = Error;

    fn try_from(Entry { id, event_id, seats, state }: Entry) -> Result<Self> {
        let reservation_id = id.parse().map_err(Error::custom)?;
        Ok(Self { reservation_id, event_id, seats: u32::try_from(seats).map_err(Error::custom)?, state })
    }
}

impl Store {
    /// Up to `limit` reservations of all events after `after`, by id.
    pub async fn list_reservations(&self, after: Option<Uuid>, limit: u32) -> Result<ReservationPage> {
        let reservations = self.reservations.clone_with_type::<Entry>();
        let conditions = after.map_or_else(Document::new, |id| doc! { "_id": { "$gt": id.to_string() } });
        let rows: Vec<Entry> = query(async move {
            let found = reservations.find(conditions).projection(doc! { "event_id": 1, "seats": 1, "state": 1 });
            found.sort(doc! { "_id": 1 }).limit(i64::from(limit)).await?.try_collect().await
        })
        .await?;
        let items = rows.into_iter().map(ReservationEntry::try_from).collect::<Result<Vec<_>>>()?;
        let last = items.last().map(|entry| entry.reservation_id);
        Ok(ReservationPage { next_after: last.filter(|_| items.len() >= limit as usize), items })
    }

    /// The time until the first hold expires; `None` if there is none.
    pub async fn until_first_expiry(&self) -> Result<Option<Duration>> {
        until_earliest(&self.reservations, doc! { "state": "held" }, "expires_at").await
    }

    /// Event id and reservation id of up to `limit` expired holds, longest expired first.
    pub async fn list_expired_holds(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<(String, Uuid)>> {
        let reservations = self.reservations.clone_with_type::<Expired>();
        let expired = doc! { "state": "held", "expires_at": { "$lte": BsonDateTime::from(now) } };
        let rows: Vec<Expired> = query(async move {
            let found = reservations.find(expired).projection(doc! { "event_id": 1 });
            found.sort(doc! { "expires_at": 1 }).limit(i64::from(limit)).await?.try_collect().await
        })
        .await?;
        rows.into_iter().map(|row| Ok((row.event_id, row.id.parse().map_err(Error::custom)?))).collect()
    }

    /// Compares counters and ledger of up to `limit` events after `after`, by id, in one snapshot.
    pub async fn check_ledger_page(&self, after: Option<String>, limit: u32) -> Result<LedgerPage> {
        let store = self.clone();
        let conditions = after.map_or_else(Document::new, |id| doc! { "_id": { "$gt": id } });
        bounded(CHECK_TIMEOUT, async move {
            let mut session = store.snapshot().await?;
            let events = store.list_counters(&mut session, conditions, i64::from(limit)).await?;
            let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
            let sums = store.sum_reservations(&mut session, doc! { "event_id": { "$in": &ids } }).await?;
            session.abort_transaction().await?;
            Ok(LedgerPage { checked: ids, mismatches: mismatches(events, &sums) })
        })
        .await
    }

    /// Compares counters and ledger of all events, in one snapshot.
    pub async fn check_ledger(&self) -> Result<LedgerPage> {
        let store = self.clone();
        bounded(CHECK_TIMEOUT, async move {
            let mut session = store.snapshot().await?;
            let events = store.list_counters(&mut session, doc! {}, 0).await?;
            let sums = store.sum_reservations(&mut session, doc! {}).await?;
            session.abort_transaction().await?;
            let checked = events.iter().map(|event| event.id.clone()).collect();
            Ok(LedgerPage { checked, mismatches: mismatches(events, &sums) })
        })
        .await
    }

    async fn snapshot(&self) -> Result<ClientSession> {
        let mut session = self.database.client().start_session().await?;
        session.start_transaction().read_concern(ReadConcern::snapshot()).await?;
        Ok(session)
    }

    async fn list_counters(
        &self,
        session: &mut ClientSession,
        conditions: Document,
        limit: i64,
    ) -> Result<Vec<EventCounters>> {
        let counters = doc! { "capacity": 1, "available": 1, "held": 1, "sold": 1 };
        let events = self.events.clone_with_type::<EventCounters>();
        let found = events.find(conditions).projection(counters).sort(doc! { "_id": 1 }).limit(limit);
        found.session(&mut *session).await?.stream(session).try_collect().await
    }

    async fn sum_reservations(
        &self,
        session: &mut ClientSession,
        mut conditions: Document,
    ) -> Result<HashMap<String, Seats>> {
        conditions.insert("state", doc! { "$in": ["held", "confirmed"] });
        let key = doc! { "event_id": "$event_id", "state": "$state" };
        let pipeline =
            [doc! { "$match": conditions }, doc! { "$group": { "_id": key, "seats": { "$sum": "$seats" } } }];
        let mut found = self.reservations.aggregate(pipeline).with_type::<Sum>().session(&mut *session).await?;
        let rows: Vec<Sum> = found.stream(session).try_collect().await?;
        let mut sums: HashMap<String, Seats> = HashMap::new();
        for Sum { key, seats } in rows {
            let of_event = sums.entry(key.event_id).or_default();
            match key.state {
                ReservationState::Held => of_event.held += seats,
                ReservationState::Confirmed => of_event.sold += seats,
                ReservationState::Released => {}
            }
        }
        Ok(sums)
    }
}

fn mismatches(events: Vec<EventCounters>, sums: &HashMap<String, Seats>) -> Vec<LedgerMismatch> {
    let known: HashSet<_> = events.iter().map(|event| event.id.clone()).collect();
    let orphans = sums.iter().filter(|(id, _)| !known.contains(*id)).map(|(id, ledger)| LedgerMismatch {
        event_id: id.clone(),
        capacity: 0,
        available: 0,
        counters: Seats::default(),
        ledger: *ledger,
    });
    let of_events = events.into_iter().filter_map(|event| {
        let ledger = sums.get(&event.id).copied().unwrap_or_default();
        let matches = event.counters == ledger
            && event.available >= 0
            && event.available + ledger.held + ledger.sold == event.capacity;
        let EventCounters { id: event_id, capacity, available, counters } = event;
        (!matches).then_some(LedgerMismatch { event_id, capacity, available, counters, ledger })
    });
    of_events.chain(orphans).collect()
}
