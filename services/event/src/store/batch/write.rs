//! Writing the outcome of a batch.

use bson::{DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use contracts::reservation::ReservationState::{self, Confirmed, Held, Released};
use mongodb::{
    ClientSession, Namespace,
    error::{Error, Result},
    options::{DeleteOneModel, UpdateOneModel, WriteModel},
};
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
    /// Writes all of an outcome but the pending notification, in one command where the server has it. `event` is the event as it was read.
    ///
    /// It is a conflict if something is no longer as it was read, or if a reservation matches one of the filters
    /// `must_be_absent`.
    pub(super) async fn write_outcome(
        &self,
        session: &mut ClientSession,
        event: Option<&Event>,
        outcome: &BatchOutcome,
        must_be_absent: Vec<Document>,
        now: DateTime<Utc>,
    ) -> WorkResult<()> {
        let mut writes: Vec<WriteModel> = Vec::new();
        if let Some(event) = event {
            writes.extend(self.event_write(event, &outcome.event)?);
        }
        for id in &outcome.confirms {
            writes.push(self.reservation_move(*id, &[Held], Confirmed, now)?);
        }
        for id in &outcome.releases {
            writes.push(self.reservation_move(*id, &[Held, Confirmed], Released, now)?);
        }
        let expected = writes.len();
        // Updates without upsert that set nothing: they only count.
        let reservations = self.reservations.namespace();
        let probe = |filter| update(reservations.clone(), filter, doc! { "$setOnInsert": { "seats": 0_i64 } });
        writes.extend(must_be_absent.into_iter().map(probe));
        for reservation in &outcome.inserts {
            writes.push(self.reservations.insert_one_model(ReservationRecord::from(reservation))?.into());
        }
        for message in &outcome.messages {
            writes.push(self.outbox.insert_one_model(OutboxRecord::try_from(message)?)?.into());
        }
        if writes.is_empty() {
            return Ok(());
        }
        let matched = self.bulk.write(session, writes).await?;
        failpoint!("event.batch.written");
        if usize::try_from(matched) == Ok(expected) {
            return Ok(());
        }
        Err(WorkFailure::conflict(format!("{matched} documents matched instead of {expected}")))
    }

    /// The write of the event, if its counters are still as they were read. MongoDB aborts the second
    /// of two transactions that write one event; this condition would catch it if it did not.
    fn event_write(&self, as_read: &Event, change: &EventChange) -> Result<Option<WriteModel>> {
        let mut guard = record::counters(as_read);
        guard.insert("_id", &as_read.id);
        let namespace = self.events.namespace();
        let fields = match change {
            EventChange::Unchanged => return Ok(None),
            EventChange::Deleted => {
                return Ok(Some(DeleteOneModel::builder().namespace(namespace).filter(guard).build().into()));
            }
            EventChange::Counters(event) => record::counters(event),
            EventChange::Edited(event) => {
                let mut fields = bson::serialize_to_document(&EventRecord::from(event)).map_err(Error::custom)?;
                fields.remove("_id");
                fields
            }
        };
        // The document is not replaced, so that the fields of a newer version stay.
        Ok(Some(update(namespace, guard, doc! { "$set": fields })))
    }

    fn reservation_move(
        &self,
        id: Uuid,
        from: &[ReservationState],
        to: ReservationState,
        now: DateTime<Utc>,
    ) -> Result<WriteModel> {
        let (from, to) = (bson::serialize_to_bson(from), bson::serialize_to_bson(&to));
        let (from, to) = (from.map_err(Error::custom)?, to.map_err(Error::custom)?);
        let guard = doc! { "_id": id.to_string(), "state": { "$in": from } };
        let set = doc! { "$set": { "state": to, "updated_at": BsonDateTime::from(now) } };
        Ok(update(self.reservations.namespace(), guard, set))
    }
}

fn update(namespace: Namespace, filter: Document, update: Document) -> WriteModel {
    UpdateOneModel::builder().namespace(namespace).filter(filter).update(update).build().into()
}
