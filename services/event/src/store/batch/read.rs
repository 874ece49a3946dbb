//! What a batch needs to know of an event and its reservations.

use std::collections::{BTreeSet, HashMap};

use bson::{Bson, DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use mongodb::{ClientSession, error::Result};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    domain::{
        batch::{Operation, Snapshot},
        event::Event,
        reservation::Reservation,
    },
    store::{EventRecord, ReservationRecord, Store},
};

/// Up to this many users are queried one by one.
const MAX_POINT_QUERIES: usize = 4;

/// An event with the database's time.
#[derive(Deserialize)]
struct TimestampedEvent {
    event: EventRecord,
    now: BsonDateTime,
}

/// A reservation with its event and the database's time.
#[derive(Deserialize)]
struct ReservationWithEvent {
    reservation: ReservationRecord,
    event: EventRecord,
    now: BsonDateTime,
}

/// How many seats of an event a user has bought.
#[derive(Deserialize)]
struct SoldSeats {
    #[serde(rename = "_id")]
    user_id: i32,
    seats: i64,
}

impl Store {
    /// What `operations` are applied to, and the database's time.
    pub(super) async fn read_snapshot(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        operations: &[Operation],
    ) -> Result<(Snapshot, DateTime<Utc>)> {
        if let [Operation::Confirm { reservation_id } | Operation::Release { reservation_id, .. }] = operations
            && let Some(found) = self.read_reservation(session, event_id, *reservation_id).await?
        {
            return Ok(found);
        }
        let (event, now) = self.read_event(session, event_id).await?;
        let mut snapshot = Snapshot { event, ..Snapshot::default() };
        snapshot.reservations = self.read_named(session, operations).await?;
        let users: BTreeSet<_> = operations.iter().filter_map(Operation::user_id).collect();
        let users: Vec<_> = users.into_iter().collect();
        if !users.is_empty() {
            snapshot.reservations.extend(self.read_held(session, event_id, &users).await?);
            if counts_sold(snapshot.event.as_ref(), operations) {
                snapshot.sold = self.read_sold(session, event_id, &users).await?;
            }
        }
        if operations.iter().any(Operation::needs_pending_notification) {
            snapshot.pending = self.read_pending_notification(session, event_id).await?;
        }
        Ok((snapshot, now))
    }

    /// The snapshot for a batch that concerns only this reservation. `None` if the event does not have it.
    async fn read_reservation(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        id: Uuid,
    ) -> Result<Option<(Snapshot, DateTime<Utc>)>> {
        let event = doc! {
            "from": self.events.name(), "localField": "reservation.event_id", "foreignField": "_id", "as": "event",
        };
        let pipeline = [
            doc! { "$match": { "_id": id.to_string(), "event_id": event_id } },
            doc! { "$project": { "reservation": "$$ROOT", "now": "$$NOW" } },
            doc! { "$lookup": event },
            doc! { "$unwind": "$event" },
        ];
        let found = self.reservations.aggregate(pipeline).with_type::<ReservationWithEvent>();
        let mut found = found.session(&mut *session).await?;
        let Some(ReservationWithEvent { reservation, event, now }) = found.next(session).await.transpose()? else {
            return Ok(None);
        };
        let reservations = vec![reservation.try_into()?];
        Ok(Some((Snapshot { event: Some(event.into()), reservations, ..Snapshot::default() }, now.into())))
    }

    pub(super) async fn read_event(
        &self,
        session: &mut ClientSession,
        event_id: &str,
    ) -> Result<(Option<Event>, DateTime<Utc>)> {
        let pipeline =
            [doc! { "$match": { "_id": event_id } }, doc! { "$project": { "event": "$$ROOT", "now": "$$NOW" } }];
        let found = self.events.aggregate(pipeline).with_type::<TimestampedEvent>();
        let mut found = found.session(&mut *session).await?;
        match found.next(session).await.transpose()? {
            Some(TimestampedEvent { event, now }) => Ok((Some(event.into()), now.into())),
            // This time is not part of the snapshot, which makes no difference to a tombstone.
            None => Ok((None, self.server_time().await?)),
        }
    }

    /// The reservations that operations name.
    async fn read_named(&self, session: &mut ClientSession, operations: &[Operation]) -> Result<Vec<Reservation>> {
        let ids: Vec<_> = operations.iter().filter_map(Operation::reservation_id).map(|id| id.to_string()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.find_reservations(session, doc! { "_id": { "$in": ids } }).await
    }

    /// The holds of those users.
    async fn read_held(&self, session: &mut ClientSession, event_id: &str, users: &[i32]) -> Result<Vec<Reservation>> {
        let mut held = Vec::new();
        for user_id in user_id_conditions(users) {
            held.extend(self.find_reservations(session, seats_of(event_id, user_id, "held")).await?);
        }
        Ok(held)
    }

    async fn find_reservations(&self, session: &mut ClientSession, conditions: Document) -> Result<Vec<Reservation>> {
        let mut found = self.reservations.find(conditions).session(&mut *session).await?;
        let records: Vec<ReservationRecord> = found.stream(session).try_collect().await?;
        records.into_iter().map(Reservation::try_from).collect()
    }

    /// How many seats of the event those users have bought.
    async fn read_sold(&self, session: &mut ClientSession, event_id: &str, users: &[i32]) -> Result<HashMap<i32, i64>> {
        let mut sold = HashMap::new();
        for user_id in user_id_conditions(users) {
            let conditions = seats_of(event_id, user_id, "confirmed");
            let group = doc! { "_id": "$user_id", "seats": { "$sum": "$seats" } };
            let pipeline = [doc! { "$match": conditions }, doc! { "$group": group }];
            let found = self.reservations.aggregate(pipeline).with_type::<SoldSeats>();
            let rows: Vec<SoldSeats> = found.session(&mut *session).await?.stream(&mut *session).try_collect().await?;
            sold.extend(rows.into_iter().map(|row| (row.user_id, row.seats)));
        }
        Ok(sold)
    }
}

/// Conditions on the reservations of users.
pub(super) fn seats_of(event_id: &str, user_id: impl Into<Bson>, state: &str) -> Document {
    doc! { "event_id": event_id, "user_id": user_id.into(), "state": state }
}

/// Conditions on `user_id`: one for each user if they are few, else one for all.
///
/// MongoDB answers both from the index. Its stand-in answers equality from the index, and reads the whole collection for
/// `$in`, which pays off only for many (docs/decisions/0007-mongodb-stand-in.md).
fn user_id_conditions(users: &[i32]) -> Vec<Bson> {
    if users.len() <= MAX_POINT_QUERIES {
        users.iter().copied().map(Bson::from).collect()
    } else {
        vec![doc! { "$in": users }.into()]
    }
}

/// Whether sold seats count towards a limit, now or after one of the operations.
pub(super) fn counts_sold(event: Option<&Event>, operations: &[Operation]) -> bool {
    let limited = |event: &Event| event.details.price == 0 || event.details.max_seats_per_person.is_some();
    event.is_some_and(limited) || operations.iter().any(|operation| matches!(operation, Operation::Edit { .. }))
}
