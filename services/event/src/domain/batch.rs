//! Group commit, the pure half: what a batch of operations on one event comes to.
//!
//! Operations are admitted one after the other, in the order they arrived, against the event and its reservations as
//! read; what is left at the end is written at once. So duplicates within a batch merge by themselves, and a batch of
//! one is the same as no batch at all.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    message::Message,
    reservation::{Hold, ReservationState, ReservationStatus},
};
use platform::outbox::OutboxMessage;
use uuid::Uuid;

use super::{Event, EventPatch, EventStatus, Refusal, Reservation};

/// Something to be done with one event, its counters or its reservations.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Take seats for a while.
    Hold {
        /// Chosen by the caller; the same id never takes seats twice.
        reservation_id: Uuid,
        /// How many.
        seats: u32,
        /// For how long.
        hold_seconds: u32,
    },
    /// Sell the seats of a hold.
    Confirm {
        /// The reservation.
        reservation_id: Uuid,
    },
    /// Give seats back, held or sold. An unknown id becomes a tombstone.
    Release {
        /// The reservation.
        reservation_id: Uuid,
        /// Only if it is a hold whose time is up.
        only_expired: bool,
    },
    /// Change the event.
    Edit {
        /// The fields to change.
        patch: Box<EventPatch>,
        /// The trace that the change belongs to.
        traceparent: Option<String>,
    },
    /// Remove the event, or cancel it where a seat is taken or was ever sold.
    Delete {
        /// The trace that the change belongs to.
        traceparent: Option<String>,
    },
}

impl Operation {
    /// The reservation that it is about, if any.
    pub fn reservation_id(&self) -> Option<Uuid> {
        match self {
            Self::Hold { reservation_id, .. }
            | Self::Confirm { reservation_id }
            | Self::Release { reservation_id, .. } => Some(*reservation_id),
            Self::Edit { .. } | Self::Delete { .. } => None,
        }
    }
}

/// What an operation came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The seats are held.
    Held(Hold),
    /// Where the reservation stands.
    Reservation(ReservationStatus),
    /// The event as it is now.
    Event(Box<Event>),
    /// The event is gone.
    Deleted,
}

/// What is to be done with the event itself.
#[derive(Clone, Debug, PartialEq)]
pub enum EventChange {
    /// Nothing.
    Unchanged,
    /// Only its counters and version moved.
    Counters(Event),
    /// Its organizer changed it; counters may have moved as well.
    Edited(Event),
    /// It goes away.
    Deleted,
}

/// What a batch comes to: an answer to each operation, in order, and what has to be written for them to be true.
#[derive(Clone, Debug)]
pub struct BatchOutcome {
    /// One per operation, in order.
    pub answers: Vec<Result<Answer, Refusal>>,
    /// New reservations, tombstones among them.
    pub inserts: Vec<Reservation>,
    /// Held reservations that become confirmed.
    pub confirms: Vec<Uuid>,
    /// Held or confirmed reservations that become released.
    pub releases: Vec<Uuid>,
    /// What is to be done with the event.
    pub event: EventChange,
    /// Facts to be told, to be written in the same transaction.
    pub messages: Vec<OutboxMessage>,
}

/// Applies operations, in order, to an event (if there is one) and those of its reservations that they name.
///
/// `now` is the database's time.
pub fn apply_batch(
    event_id: &str,
    event: Option<Event>,
    reservations: Vec<Reservation>,
    operations: &[Operation],
    now: DateTime<Utc>,
) -> BatchOutcome {
    let before: HashMap<_, _> = reservations.into_iter().map(|reservation| (reservation.id, reservation)).collect();
    let mut work = Work {
        event_id,
        event: event.clone(),
        edited: false,
        reservations: before.clone(),
        touched: Vec::new(),
        seen: HashSet::new(),
        messages: Vec::new(),
        now,
    };
    let answers = operations.iter().map(|operation| work.apply(operation)).collect();
    work.finish(event, &before, answers)
}

struct Work<'a> {
    event_id: &'a str,
    event: Option<Event>,
    edited: bool,
    reservations: HashMap<Uuid, Reservation>,
    /// In the order of their first change.
    touched: Vec<Uuid>,
    seen: HashSet<Uuid>,
    messages: Vec<OutboxMessage>,
    now: DateTime<Utc>,
}

impl Work<'_> {
    fn apply(&mut self, operation: &Operation) -> Result<Answer, Refusal> {
        match operation {
            Operation::Hold { reservation_id, seats, hold_seconds } => {
                self.hold(*reservation_id, *seats, *hold_seconds)
            }
            Operation::Confirm { reservation_id } => self.confirm(*reservation_id),
            Operation::Release { reservation_id, only_expired } => self.release(*reservation_id, *only_expired),
            Operation::Edit { patch, traceparent } => self.edit(patch, traceparent.as_ref()),
            Operation::Delete { traceparent } => self.delete(traceparent.as_ref()),
        }
    }

    fn hold(&mut self, id: Uuid, seats: u32, hold_seconds: u32) -> Result<Answer, Refusal> {
        let known = self.known(id)?;
        let event = self.event.as_ref().ok_or(Refusal::EventNotFound)?;
        if let Some(known) = known.filter(|_| !platform::guard_removed!("event.hold_once")) {
            return match known.state {
                ReservationState::Released => Err(Refusal::ReservationReleased),
                _ if known.seats != seats => Err(Refusal::ReservationMismatch),
                _ => Ok(Answer::Held(known.hold(event))),
            };
        }
        event.admit(seats, self.now)?;
        let reservation = Reservation {
            id,
            event_id: self.event_id.to_owned(),
            seats,
            state: ReservationState::Held,
            price: event.details.price,
            currency: event.details.currency.clone(),
            expires_at: Some(self.now + TimeDelta::seconds(i64::from(hold_seconds))),
            created_at: self.now,
            updated_at: self.now,
        };
        let answer = reservation.hold(event);
        self.move_seats(seats, |event, seats| {
            event.available -= seats;
            event.held += seats;
        })?;
        self.put(reservation);
        Ok(Answer::Held(answer))
    }

    fn confirm(&mut self, id: Uuid) -> Result<Answer, Refusal> {
        let mut reservation = self.known(id)?.ok_or(Refusal::ReservationNotFound)?.clone();
        match reservation.state {
            ReservationState::Released if platform::guard_removed!("event.released_stays_released") => {}
            ReservationState::Released => return Err(Refusal::ReservationReleased),
            ReservationState::Confirmed => return Ok(Answer::Reservation(reservation.status())),
            ReservationState::Held => {}
        }
        // Also when its time is just up: until it is released, the seats are its own.
        match self.event.as_ref().map(|event| event.status) {
            None => return Err(Refusal::EventNotFound),
            Some(EventStatus::Cancelled) => return Err(Refusal::EventCancelled),
            Some(EventStatus::Draft | EventStatus::Published) => {}
        }
        self.move_seats(reservation.seats, |event, seats| {
            event.held -= seats;
            event.sold += seats;
            event.ever_sold = true;
        })?;
        reservation.state = ReservationState::Confirmed;
        Ok(Answer::Reservation(self.put(reservation)))
    }

    fn release(&mut self, id: Uuid, only_expired: bool) -> Result<Answer, Refusal> {
        let Some(reservation) = self.known(id)? else {
            let tombstone = Reservation::tombstone(id, self.event_id, self.now);
            return Ok(Answer::Reservation(self.put(tombstone)));
        };
        let only_expired = only_expired && !platform::guard_removed!("event.only_expired");
        let stays =
            reservation.state == ReservationState::Released || only_expired && !reservation.is_expired(self.now);
        let mut reservation = reservation.clone();
        if stays {
            return Ok(Answer::Reservation(reservation.status()));
        }
        let held = reservation.state == ReservationState::Held;
        self.move_seats(reservation.seats, |event, seats| {
            *(if held { &mut event.held } else { &mut event.sold }) -= seats;
            event.available += seats;
        })?;
        reservation.state = ReservationState::Released;
        Ok(Answer::Reservation(self.put(reservation)))
    }

    fn edit(&mut self, patch: &EventPatch, traceparent: Option<&String>) -> Result<Answer, Refusal> {
        let event = self.event.as_mut().ok_or(Refusal::EventNotFound)?;
        let edited = event.edit(patch, self.now)?;
        self.edited |= edited.event != *event;
        *event = edited.event;
        let answer = Answer::Event(Box::new(event.clone()));
        if let Some(message) = edited.message {
            self.tell(message, traceparent);
        }
        Ok(answer)
    }

    fn delete(&mut self, traceparent: Option<&String>) -> Result<Answer, Refusal> {
        let event = self.event.as_ref().ok_or(Refusal::EventNotFound)?;
        if event.taken() == 0 && !event.ever_sold {
            self.event = None;
            return Ok(Answer::Deleted);
        }
        let cancel = EventPatch { status: Some(EventStatus::Cancelled), ..EventPatch::default() };
        self.edit(&cancel, traceparent)
    }

    /// The reservation of that id, which has to be one of this event.
    fn known(&self, id: Uuid) -> Result<Option<&Reservation>, Refusal> {
        match self.reservations.get(&id) {
            Some(reservation) if reservation.event_id != self.event_id => Err(Refusal::ReservationMismatch),
            known => Ok(known),
        }
    }

    fn move_seats(&mut self, seats: u32, change: impl FnOnce(&mut Event, i64)) -> Result<(), Refusal> {
        let event = self.event.as_mut().ok_or(Refusal::EventNotFound)?;
        change(event, i64::from(seats));
        event.version += 1;
        Ok(())
    }

    fn put(&mut self, mut reservation: Reservation) -> ReservationStatus {
        reservation.updated_at = self.now;
        if self.seen.insert(reservation.id) {
            self.touched.push(reservation.id);
        }
        let status = reservation.status();
        self.reservations.insert(reservation.id, reservation);
        status
    }

    fn tell(&mut self, message: Message, traceparent: Option<&String>) {
        let version = self.event.as_ref().map_or(0, |event| event.version);
        // The same change has the same message id, however often its transaction is tried.
        let name = format!("{}/{}/{version}", self.event_id, message.routing_key());
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
        let traceparent = traceparent.cloned();
        self.messages.push(OutboxMessage { id, message, traceparent, created_at: self.now });
    }

    fn finish(
        self,
        event_before: Option<Event>,
        before: &HashMap<Uuid, Reservation>,
        answers: Vec<Result<Answer, Refusal>>,
    ) -> BatchOutcome {
        let (mut inserts, mut confirms, mut releases) = (Vec::new(), Vec::new(), Vec::new());
        for id in self.touched {
            let Some(reservation) = self.reservations.get(&id) else { continue };
            match reservation.state {
                _ if !before.contains_key(&id) => inserts.push(reservation.clone()),
                ReservationState::Confirmed => confirms.push(id),
                ReservationState::Released => releases.push(id),
                ReservationState::Held => {}
            }
        }
        let event = match (event_before, self.event) {
            (Some(_), None) => EventChange::Deleted,
            (Some(old), Some(new)) if self.edited && old != new => EventChange::Edited(new),
            (Some(old), Some(new)) if old != new => EventChange::Counters(new),
            _ => EventChange::Unchanged,
        };
        BatchOutcome { answers, inserts, confirms, releases, event, messages: self.messages }
    }
}

#[cfg(test)]
mod tests;
