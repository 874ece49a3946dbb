//! Writing the outcome of a batch.

use bson::{DateTime as BsonDateTime, doc};
use chrono::{DateTime, Utc};
use contracts::reservation::ReservationState::{self, Confirmed, Held, Released};
use mongodb::{ClientSession, error::Error};
use platform::{
    failpoint,
    mongo::transaction::{WorkFailure, WorkResult},
};
use uuid::Uuid;

use crate::{
    domain::{
        batch::{BatchOutcome, EventChange},
        event::Event,
    },
    store::{EventRecord, ReservationRecord, Store, outbox::OutboxRecord, record},
};

impl Store {
    /// Writes all of an outcome but the pending notification. `event` is the event as it was read.
    pub(super) async fn write_outcome(
        &self,
        session: &mut ClientSession,
        event: Option<Event>,
        outcome: &BatchOutcome,
        now: DateTime<Utc>,
    ) -> WorkResult<()> {
        if let Some(event) = event {
            self.write_event(session, &event, &outcome.event).await?;
            failpoint!("event.batch.event_written");
        }
        if !outcome.inserts.is_empty() {
            let records: Vec<_> = outcome.inserts.iter().map(ReservationRecord::from).collect();
            self.reservations.insert_many(records).session(&mut *session).await?;
            failpoint!("event.batch.reservations_inserted");
        }
        self.move_reservations(session, &outcome.confirms, &[Held], Confirmed, now).await?;
        self.move_reservations(session, &outcome.releases, &[Held, Confirmed], Released, now).await?;
        if !outcome.confirms.is_empty() || !outcome.releases.is_empty() {
            failpoint!("event.batch.reservations_moved");
        }
        if !outcome.messages.is_empty() {
            let records = outcome.messages.iter().map(OutboxRecord::try_from).collect::<Result<Vec<_>, _>>()?;
            self.outbox.insert_many(records).session(&mut *session).await?;
            failpoint!("event.batch.messages_written");
        }
        Ok(())
    }

    /// Writes the event if its counters are still as they were read. The snapshot ensures that already; the condition
    /// is a second line of defence.
    async fn write_event(&self, session: &mut ClientSession, as_read: &Event, change: &EventChange) -> WorkResult<()> {
        let mut guard = record::counters(as_read);
        guard.insert("_id", &as_read.id);
        let fields = match change {
            EventChange::Unchanged => return Ok(()),
            EventChange::Deleted => {
                let deleted = self.events.delete_one(guard).session(session).await?;
                return expect_count(deleted.deleted_count, 1);
            }
            EventChange::Counters(event) => record::counters(event),
            EventChange::Edited(event) => {
                let mut fields = bson::serialize_to_document(&EventRecord::from(event)).map_err(Error::custom)?;
                fields.remove("_id");
                fields
            }
        };
        // The document is not replaced, so that the fields of a newer version stay.
        let updated = self.events.update_one(guard, doc! { "$set": fields }).session(session).await?;
        expect_count(updated.matched_count, 1)
    }

    async fn move_reservations(
        &self,
        session: &mut ClientSession,
        ids: &[Uuid],
        from: &[ReservationState],
        to: ReservationState,
        now: DateTime<Utc>,
    ) -> WorkResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let (from, to) = (bson::serialize_to_bson(from), bson::serialize_to_bson(&to));
        let (from, to) = (from.map_err(Error::custom)?, to.map_err(Error::custom)?);
        let ids: Vec<_> = ids.iter().map(Uuid::to_string).collect();
        let expected = ids.len() as u64;
        let guard = doc! { "_id": { "$in": ids }, "state": { "$in": from } };
        let set = doc! { "$set": { "state": to, "updated_at": BsonDateTime::from(now) } };
        let updated = self.reservations.update_many(guard, set).session(session).await?;
        expect_count(updated.matched_count, expected)
    }
}

fn expect_count(written: u64, expected: u64) -> WorkResult<()> {
    if written == expected {
        return Ok(());
    }
    Err(WorkFailure::conflict(format!("{written} of {expected} documents were still as they had been read")))
}
