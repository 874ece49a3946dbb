//! Group commit, the pure half: what a batch of operations on one event comes to.
//!
//! Operations are admitted one after the other, in the order they arrived, against the event and its reservations as
//! read; what is left at the end is written at once. So duplicates within a batch merge by themselves, and a batch of
//! one is the same as no batch at all.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    message::Message,
    reservation::{DecreaseCapacity, Hold, ReservationState, ReservationStatus},
};
use platform::outbox::OutboxMessage;
use uuid::Uuid;

use super::{Event, EventPatch, EventStatus, Refusal, Reservation, UntoldChange, change::Edit, person::Person};

/// Something to be done with one event, its counters or its reservations.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Take seats for a while.
    Hold(DecreaseCapacity),
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
        /// How long nothing may change before holders are told.
        quiet: TimeDelta,
        /// The trace that the change belongs to.
        traceparent: Option<String>,
    },
    /// Tell holders of a change that is due.
    TellChange,
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
            Self::Hold(DecreaseCapacity { reservation_id, .. })
            | Self::Confirm { reservation_id }
            | Self::Release { reservation_id, .. } => Some(*reservation_id),
            Self::Edit { .. } | Self::Delete { .. } | Self::TellChange => None,
        }
    }

    /// Whether it reads or changes what holders are told.
    pub fn tells(&self) -> bool {
        matches!(self, Self::Edit { .. } | Self::Delete { .. } | Self::TellChange)
    }

    /// The person whose seats are counted before it is admitted, if any.
    pub fn person(&self) -> Option<i32> {
        match self {
            Self::Hold(ask) => ask.user_id,
            _ => None,
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
    /// Holders are told, if that was still needed.
    Told,
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
    /// Changes that holders are to be told later, if they differ from before.
    pub untold: Option<Option<UntoldChange>>,
    /// Facts to be told, to be written in the same transaction.
    pub messages: Vec<OutboxMessage>,
}

/// The state that a batch is applied to, as read in its transaction.
#[derive(Clone, Debug, Default)]
pub struct AsRead {
    /// The event, if there is one.
    pub event: Option<Event>,
    /// The reservations that operations name, and the holds of persons who ask for seats. May contain duplicates.
    pub reservations: Vec<Reservation>,
    /// The seats bought by persons who ask for seats; those without any may be absent.
    pub sold: HashMap<i32, i64>,
    /// Changes that holders were not told yet; read only for operations that need them.
    pub untold: Option<UntoldChange>,
}

/// Applies operations, in order, to an event and its reservations.
///
/// `now` is the database's time.
pub fn apply_batch(event_id: &str, read: AsRead, operations: &[Operation], now: DateTime<Utc>) -> BatchOutcome {
    let AsRead { event, reservations, sold, untold } = read;
    let before: HashMap<_, _> = reservations.into_iter().map(|reservation| (reservation.id, reservation)).collect();
    let mut work = Work {
        event_id,
        event: event.clone(),
        edited: false,
        untold: untold.clone(),
        reservations: before.clone(),
        sold,
        touched: Vec::new(),
        seen: HashSet::new(),
        messages: Vec::new(),
        now,
    };
    let answers = operations.iter().map(|operation| work.apply(operation)).collect();
    work.finish(event, untold.as_ref(), &before, answers)
}

struct Work<'a> {
    event_id: &'a str,
    event: Option<Event>,
    edited: bool,
    untold: Option<UntoldChange>,
    reservations: HashMap<Uuid, Reservation>,
    sold: HashMap<i32, i64>,
    /// In the order of their first change.
    touched: Vec<Uuid>,
    seen: HashSet<Uuid>,
    messages: Vec<OutboxMessage>,
    now: DateTime<Utc>,
}

impl Work<'_> {
    fn apply(&mut self, operation: &Operation) -> Result<Answer, Refusal> {
        match operation {
            Operation::Hold(ask) => self.hold(ask),
            Operation::Confirm { reservation_id } => self.confirm(*reservation_id),
            Operation::Release { reservation_id, only_expired } => self.release(*reservation_id, *only_expired),
            Operation::Edit { patch, quiet, traceparent } => self.edit(patch, *quiet, traceparent.as_ref()),
            Operation::Delete { traceparent } => self.delete(traceparent.as_ref()),
            Operation::TellChange => Ok(self.tell_change()),
        }
    }

    fn hold(&mut self, ask: &DecreaseCapacity) -> Result<Answer, Refusal> {
        let DecreaseCapacity { reservation_id: id, seats, hold_seconds, user_id, paid } = *ask;
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
        if let Some(user_id) = user_id {
            self.end_expired_holds(user_id)?;
            self.count_seats(user_id).may_take(self.event()?, seats.into(), paid, self.now)?;
        }
        let event = self.event()?;
        event.has_left(seats)?;
        let reservation = Reservation {
            id,
            event_id: self.event_id.to_owned(),
            user_id,
            seats,
            state: ReservationState::Held,
            price: event.details.price,
            currency: event.details.currency.clone(),
            event_version: Some(event.version),
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

    /// Ends a person's expired holds. The sweeper would do so a moment later, but a client that was told to retry when
    /// they end retries at that very moment.
    fn end_expired_holds(&mut self, user_id: i32) -> Result<(), Refusal> {
        let over = self.held_by(user_id).filter(|hold| hold.is_expired(self.now)).map(|hold| hold.id);
        for id in over.collect::<Vec<_>>() {
            self.release(id, true)?;
        }
        Ok(())
    }

    fn count_seats(&self, user_id: i32) -> Person {
        Person {
            held: self.held_by(user_id).map(|hold| i64::from(hold.seats)).sum(),
            sold: self.sold.get(&user_id).copied().unwrap_or_default(),
            first_end: self.held_by(user_id).filter_map(|hold| hold.expires_at).min(),
        }
    }

    fn held_by(&self, user_id: i32) -> impl Iterator<Item = &Reservation> {
        let held = move |it: &&Reservation| {
            it.state == ReservationState::Held && it.user_id == Some(user_id) && it.event_id == self.event_id
        };
        self.reservations.values().filter(held)
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
        self.count_sold(&reservation, 1);
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
        if !held {
            self.count_sold(&reservation, -1);
        }
        reservation.state = ReservationState::Released;
        Ok(Answer::Reservation(self.put(reservation)))
    }

    fn edit(&mut self, patch: &EventPatch, quiet: TimeDelta, traceparent: Option<&String>) -> Result<Answer, Refusal> {
        let event = self.event.as_mut().ok_or(Refusal::EventNotFound)?;
        let edited = event.edit(patch, self.untold.clone(), Edit { now: self.now, quiet, traceparent })?;
        self.edited |= edited.event != *event;
        *event = edited.event;
        self.untold = edited.untold;
        let answer = Answer::Event(Box::new(event.clone()));
        if let Some(message) = edited.message {
            self.tell(message, traceparent);
        }
        Ok(answer)
    }

    fn delete(&mut self, traceparent: Option<&String>) -> Result<Answer, Refusal> {
        let event = self.event.as_ref().ok_or(Refusal::EventNotFound)?;
        if event.taken() == 0 && !event.ever_sold {
            (self.event, self.untold) = (None, None);
            return Ok(Answer::Deleted);
        }
        let cancel = EventPatch { status: Some(EventStatus::Cancelled), ..EventPatch::default() };
        self.edit(&cancel, TimeDelta::zero(), traceparent)
    }

    fn tell_change(&mut self) -> Answer {
        let now = self.now;
        if let Some(untold) = self.untold.take_if(|untold| untold.due_at <= now)
            && let Some(message) = self.event.as_mut().and_then(|event| event.tell_change(&untold, now))
        {
            self.tell(message, untold.traceparent.as_ref());
        }
        Answer::Told
    }

    fn count_sold(&mut self, reservation: &Reservation, sign: i64) {
        if let Some(user_id) = reservation.user_id {
            *self.sold.entry(user_id).or_default() += sign * i64::from(reservation.seats);
        }
    }

    fn event(&self) -> Result<&Event, Refusal> {
        self.event.as_ref().ok_or(Refusal::EventNotFound)
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
        untold_before: Option<&UntoldChange>,
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
        let untold = (self.untold.as_ref() != untold_before).then_some(self.untold);
        BatchOutcome { answers, inserts, confirms, releases, event, untold, messages: self.messages }
    }
}

#[cfg(test)]
mod tests;
