//! Group commit, the other half: one transaction reads an event and its reservations, and writes what a batch comes to.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use bson::{Bson, DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use contracts::reservation::ReservationState;
use futures::TryStreamExt;
use mongodb::{
    ClientSession,
    error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::{Acknowledgment, ReadConcern, WriteConcern},
};
use platform::{
    failpoint, guard_removed,
    mongo::{is_contended, is_duplicate_key, is_unavailable},
};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{EventRecord, ReservationRecord, Store, outbox::OutboxRecord, record};
use crate::domain::{AsRead, BatchOutcome, Event, EventChange, Operation, Reservation, apply_batch};

/// Up to so many people are asked about one by one.
const FEW_PEOPLE: usize = 4;
/// How long a batch is tried again and again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest wait for a majority at a commit.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause is up to this long; each later one up to twice the one before.
const PAUSE: Duration = Duration::from_millis(4);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// Why a batch was not committed, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum BatchFailure {
    /// Nothing was written.
    #[error("nothing was written")]
    NotCommitted(#[source] Error),
    /// The answer to the commit did not arrive.
    #[error("whether it was written is not known")]
    Unknown(#[source] Error),
}

/// Why one attempt failed.
enum Attempt {
    /// Somebody else changed what was read: the whole batch is worth another attempt.
    Lost(Error),
    Failed(Error),
    Unknown(Error),
}

/// The event with the database's time.
#[derive(Deserialize)]
struct Dated {
    event: EventRecord,
    now: BsonDateTime,
}

/// How many seats of an event a person has bought.
#[derive(Deserialize)]
struct Sold {
    #[serde(rename = "_id")]
    user_id: i32,
    seats: i64,
}

impl Store {
    /// Applies operations to one event in one transaction, which is tried again while others are faster.
    ///
    /// Must not be dropped midway.
    pub(crate) async fn commit_batch(
        &self,
        event_id: &str,
        operations: &[Operation],
    ) -> Result<BatchOutcome, BatchFailure> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            match self.attempt(event_id, operations, deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(Attempt::Lost(_)) if Instant::now() < deadline => {
                    metrics::counter!("eventplatform_transaction_retries_total").increment(1);
                    sleep(pause.mul_f64(rand::random::<f64>())).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
                Err(Attempt::Lost(error) | Attempt::Failed(error)) => return Err(BatchFailure::NotCommitted(error)),
                Err(Attempt::Unknown(error)) => return Err(BatchFailure::Unknown(error)),
            }
        }
    }

    async fn attempt(
        &self,
        event_id: &str,
        operations: &[Operation],
        deadline: Instant,
    ) -> Result<BatchOutcome, Attempt> {
        let _turn = self.sessions.permit().await;
        let mut session = self.sessions.acquire().await.map_err(classify)?;
        let result = self.transact(&mut session, event_id, operations, deadline).await;
        match &result {
            Ok(_) => self.sessions.release(session),
            Err(Attempt::Lost(error)) if is_contended(error) => self.sessions.release(session),
            Err(_) => self.sessions.abandon(session),
        }
        result
    }

    async fn transact(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        operations: &[Operation],
        deadline: Instant,
    ) -> Result<BatchOutcome, Attempt> {
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build())
            .max_commit_time(COMMIT_TIMEOUT)
            .await
            .map_err(classify)?;
        match self.read_and_write(session, event_id, operations).await {
            Ok(outcome) => commit(session, deadline).await.map(|()| outcome),
            Err(attempt) => {
                // Its failure changes nothing: the server ends what nobody commits.
                session.abort_transaction().await.ok();
                Err(attempt)
            }
        }
    }

    async fn read_and_write(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        operations: &[Operation],
    ) -> Result<BatchOutcome, Attempt> {
        let (event, now) = self.read_event(session, event_id).await.map_err(classify)?;
        let mut reservations = self.read_named(session, operations).await.map_err(classify)?;
        let mut sold = HashMap::new();
        let people: BTreeSet<_> = operations.iter().filter_map(Operation::person).collect();
        let people: Vec<_> = people.into_iter().collect();
        if !people.is_empty() {
            reservations.extend(self.read_held(session, event_id, &people).await.map_err(classify)?);
            if counts_sold(event.as_ref(), operations) {
                sold = self.read_sold(session, event_id, &people).await.map_err(classify)?;
            }
        }
        let tells = operations.iter().any(Operation::tells);
        let untold = if tells { self.read_untold(session, event_id).await.map_err(classify)? } else { None };
        let read = AsRead { event: event.clone(), reservations, sold, untold };
        let outcome = apply_batch(event_id, read, operations, now);
        if let Some(untold) = outcome.untold.clone() {
            self.write_untold(session, event_id, untold).await.map_err(classify)?;
        }
        self.write(session, event, &outcome, now).await?;
        Ok(outcome)
    }

    async fn read_event(
        &self,
        session: &mut ClientSession,
        event_id: &str,
    ) -> mongodb::error::Result<(Option<Event>, DateTime<Utc>)> {
        let dated =
            [doc! { "$match": { "_id": event_id } }, doc! { "$project": { "event": "$$ROOT", "now": "$$NOW" } }];
        let mut found = self.events.aggregate(dated).with_type::<Dated>().session(&mut *session).await?;
        match found.next(session).await.transpose()? {
            Some(Dated { event, now }) => Ok((Some(event.into()), now.into())),
            // Not part of the snapshot, which does not matter to a tombstone.
            None => Ok((None, self.server_time().await?)),
        }
    }

    async fn read_named(
        &self,
        session: &mut ClientSession,
        operations: &[Operation],
    ) -> mongodb::error::Result<Vec<Reservation>> {
        let ids: Vec<_> = operations.iter().filter_map(Operation::reservation_id).map(|id| id.to_string()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.find_reservations(session, doc! { "_id": { "$in": ids } }).await
    }

    /// What those people hold of the event.
    async fn read_held(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        people: &[i32],
    ) -> mongodb::error::Result<Vec<Reservation>> {
        let mut held = Vec::new();
        for user_id in one_by_one_or_together(people) {
            let theirs = doc! { "event_id": event_id, "user_id": user_id, "state": "held" };
            held.extend(self.find_reservations(session, theirs).await?);
        }
        Ok(held)
    }

    async fn find_reservations(
        &self,
        session: &mut ClientSession,
        conditions: Document,
    ) -> mongodb::error::Result<Vec<Reservation>> {
        let mut found = self.reservations.find(conditions).session(&mut *session).await?;
        let records: Vec<ReservationRecord> = found.stream(session).try_collect().await?;
        records.into_iter().map(Reservation::try_from).collect()
    }

    /// How many seats of the event those people have bought.
    async fn read_sold(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        people: &[i32],
    ) -> mongodb::error::Result<HashMap<i32, i64>> {
        let mut sold = HashMap::new();
        for user_id in one_by_one_or_together(people) {
            let theirs = doc! { "event_id": event_id, "user_id": user_id, "state": "confirmed" };
            let group = doc! { "_id": "$user_id", "seats": { "$sum": "$seats" } };
            let sum = [doc! { "$match": theirs }, doc! { "$group": group }];
            let mut found = self.reservations.aggregate(sum).with_type::<Sold>().session(&mut *session).await?;
            let rows: Vec<Sold> = found.stream(&mut *session).try_collect().await?;
            sold.extend(rows.into_iter().map(|row| (row.user_id, row.seats)));
        }
        Ok(sold)
    }

    async fn write(
        &self,
        session: &mut ClientSession,
        event: Option<Event>,
        outcome: &BatchOutcome,
        now: DateTime<Utc>,
    ) -> Result<(), Attempt> {
        if let Some(event) = event {
            self.write_event(session, &event, &outcome.event).await?;
            failpoint!("event.batch.event_written");
        }
        if !outcome.inserts.is_empty() {
            let records: Vec<_> = outcome.inserts.iter().map(ReservationRecord::from).collect();
            self.reservations.insert_many(records).session(&mut *session).await.map_err(classify)?;
            failpoint!("event.batch.reservations_inserted");
        }
        let (held, confirmed) = (ReservationState::Held, ReservationState::Confirmed);
        self.move_reservations(session, &outcome.confirms, &[held], confirmed, now).await?;
        self.move_reservations(session, &outcome.releases, &[held, confirmed], ReservationState::Released, now).await?;
        if !outcome.confirms.is_empty() || !outcome.releases.is_empty() {
            failpoint!("event.batch.reservations_moved");
        }
        if !outcome.messages.is_empty() && !guard_removed!("event.outbox") {
            let records = outcome.messages.iter().map(OutboxRecord::try_from).collect::<Result<Vec<_>, _>>();
            let records = records.map_err(Attempt::Failed)?;
            self.outbox.insert_many(records).session(&mut *session).await.map_err(classify)?;
            failpoint!("event.batch.messages_written");
        }
        Ok(())
    }

    /// Writes the event only while its counters are as they were read. The snapshot sees to that already; this guard
    /// holds the promise should it ever not.
    async fn write_event(
        &self,
        session: &mut ClientSession,
        as_read: &Event,
        change: &EventChange,
    ) -> Result<(), Attempt> {
        let mut guard = record::counters(as_read);
        guard.insert("_id", &as_read.id);
        let written = match change {
            EventChange::Unchanged => return Ok(()),
            EventChange::Counters(event) => {
                let set = doc! { "$set": record::counters(event) };
                self.events.update_one(guard, set).session(session).await.map(|done| done.matched_count)
            }
            EventChange::Edited(event) => {
                // Fields are set one by one, so that those of a newer version stay.
                let mut record = bson::serialize_to_document(&EventRecord::from(event))
                    .map_err(|error| Attempt::Failed(Error::custom(error)))?;
                record.remove("_id");
                let set = doc! { "$set": record };
                self.events.update_one(guard, set).session(session).await.map(|done| done.matched_count)
            }
            EventChange::Deleted => self.events.delete_one(guard).session(session).await.map(|done| done.deleted_count),
        };
        expect_count(written.map_err(classify)?, 1)
    }

    async fn move_reservations(
        &self,
        session: &mut ClientSession,
        ids: &[Uuid],
        from: &[ReservationState],
        to: ReservationState,
        now: DateTime<Utc>,
    ) -> Result<(), Attempt> {
        if ids.is_empty() {
            return Ok(());
        }
        let any = [ReservationState::Held, ReservationState::Confirmed, ReservationState::Released];
        let from = if guard_removed!("event.released_stays_released") { &any } else { from };
        let texts: Vec<_> = ids.iter().map(Uuid::to_string).collect();
        let guard = doc! { "_id": { "$in": texts }, "state": { "$in": words(from)? } };
        let set = doc! { "$set": { "state": word(to)?, "updated_at": BsonDateTime::from(now) } };
        let written = self.reservations.update_many(guard, set).session(session).await.map_err(classify)?;
        expect_count(written.matched_count, ids.len() as u64)
    }
}

/// Conditions on `user_id`: one for each person if they are few, else one for all.
///
/// MongoDB answers both from the index. Its stand-in answers equality from the index, and reads the whole collection for
/// `$in`, which pays off only for many (docs/decisions/0007-mongodb-stand-in.md).
fn one_by_one_or_together(people: &[i32]) -> Vec<Bson> {
    if people.len() <= FEW_PEOPLE {
        people.iter().copied().map(Bson::from).collect()
    } else {
        vec![doc! { "$in": people }.into()]
    }
}

/// Whether sold seats count towards a limit, now or after one of the operations.
fn counts_sold(event: Option<&Event>, operations: &[Operation]) -> bool {
    let limited = |event: &Event| event.details.price == 0 || event.details.max_seats_per_person.is_some();
    event.is_some_and(limited) || operations.iter().any(|operation| matches!(operation, Operation::Edit { .. }))
}

fn word(state: ReservationState) -> Result<Bson, Attempt> {
    bson::serialize_to_bson(&state).map_err(|error| Attempt::Failed(Error::custom(error)))
}

fn words(states: &[ReservationState]) -> Result<Vec<bson::Bson>, Attempt> {
    states.iter().map(|state| word(*state)).collect()
}

fn expect_count(written: u64, expected: u64) -> Result<(), Attempt> {
    if written == expected {
        return Ok(());
    }
    Err(Attempt::Lost(Error::custom(format!("{written} documents were as they had been read, not {expected}"))))
}

fn classify(error: Error) -> Attempt {
    // A server that cannot be found is no race; a duplicate key is: the next attempt sees whoever was faster.
    let absent = matches!(error.kind.as_ref(), mongodb::error::ErrorKind::ServerSelection { .. });
    if !absent && (error.contains_label(TRANSIENT_TRANSACTION_ERROR) || is_duplicate_key(&error)) {
        Attempt::Lost(error)
    } else {
        Attempt::Failed(error)
    }
}

/// Commits, and asks again while the answer is missing: the server knows a commit that it has made.
async fn commit(session: &mut ClientSession, deadline: Instant) -> Result<(), Attempt> {
    loop {
        match session.commit_transaction().await {
            Ok(()) => return Ok(()),
            Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                if Instant::now() >= deadline {
                    return Err(Attempt::Unknown(error));
                }
                sleep(PAUSE.mul_f64(rand::random::<f64>())).await;
            }
            Err(error) => return Err(classify(error)),
        }
    }
}

impl BatchFailure {
    /// Whether the database was away or slow, rather than that the batch was wrong.
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Self::NotCommitted(error) => is_unavailable(error),
            Self::Unknown(_) => true,
        }
    }
}
