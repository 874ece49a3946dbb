//! The event and its reservations while a batch is applied to them.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    message::Message,
    reservation::{DecreaseCapacity, ReservationState, ReservationStatus},
};
use platform::outbox::OutboxMessage;
use uuid::Uuid;

use super::{Answer, BatchOutcome, EventChange, Operation};
use crate::domain::{
    edit::EventPatch,
    event::{Event, EventStatus},
    notification::{EditContext, PendingNotification},
    refusal::Refusal,
    reservation::Reservation,
    user_seats::UserSeats,
};

pub(super) struct BatchState<'a> {
    event_id: &'a str,
    event: Option<Event>,
    edited: bool,
    pending: Option<PendingNotification>,
    reservations: HashMap<Uuid, Reservation>,
    /// Seats bought, by user.
    sold: HashMap<i32, i64>,
    /// Changed reservations in the order of their first change.
    changed: Vec<Uuid>,
    changed_set: HashSet<Uuid>,
    messages: Vec<OutboxMessage>,
    now: DateTime<Utc>,
}

impl<'a> BatchState<'a> {
    pub(super) fn new(
        event_id: &'a str,
        event: Option<Event>,
        reservations: HashMap<Uuid, Reservation>,
        sold: HashMap<i32, i64>,
        pending: Option<PendingNotification>,
        now: DateTime<Utc>,
    ) -> Self {
        let (changed, changed_set, messages) = (Vec::new(), HashSet::new(), Vec::new());
        Self { event_id, event, edited: false, pending, reservations, sold, changed, changed_set, messages, now }
    }

    pub(super) fn apply(&mut self, operation: &Operation) -> Result<Answer, Refusal> {
        match operation {
            Operation::Hold(request) => self.hold(request),
            Operation::Confirm { reservation_id } => self.confirm(*reservation_id),
            Operation::Release { reservation_id, only_expired } => self.release(*reservation_id, *only_expired),
            Operation::Edit { patch, quiet_period, traceparent } => {
                self.edit(patch, *quiet_period, traceparent.as_ref())
            }
            Operation::Delete { traceparent } => self.delete(traceparent.as_ref()),
            Operation::NotifyHolders => Ok(self.notify_holders()),
        }
    }

    fn hold(&mut self, request: &DecreaseCapacity) -> Result<Answer, Refusal> {
        let DecreaseCapacity { reservation_id: id, seats, hold_seconds, user_id, paid } = *request;
        let known = self.find_reservation(id)?;
        let event = self.event.as_ref().ok_or(Refusal::EventNotFound)?;
        if let Some(known) = known {
            return match known.state {
                ReservationState::Released => Err(Refusal::ReservationReleased),
                _ if known.seats != seats => Err(Refusal::ReservationMismatch),
                _ => Ok(Answer::Held(known.hold(event))),
            };
        }
        event.check_sale(seats, self.now)?;
        if let Some(user_id) = user_id {
            self.release_expired_holds(user_id)?;
            self.seats_of(user_id).check_limits(self.event()?, seats.into(), paid, self.now)?;
        }
        let event = self.event()?;
        event.check_available(seats)?;
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

    /// Releases a user's expired holds. The sweeper would do so a moment later, but a client that got a Retry-After
    /// header retries as soon as they expire.
    fn release_expired_holds(&mut self, user_id: i32) -> Result<(), Refusal> {
        let expired = self.held_by(user_id).filter(|hold| hold.is_expired(self.now)).map(|hold| hold.id);
        for id in expired.collect::<Vec<_>>() {
            self.release(id, true)?;
        }
        Ok(())
    }

    fn seats_of(&self, user_id: i32) -> UserSeats {
        UserSeats {
            held: self.held_by(user_id).map(|hold| i64::from(hold.seats)).sum(),
            sold: self.sold.get(&user_id).copied().unwrap_or_default(),
            first_expiry: self.held_by(user_id).filter_map(|hold| hold.expires_at).min(),
        }
    }

    fn held_by(&self, user_id: i32) -> impl Iterator<Item = &Reservation> {
        let held = move |it: &&Reservation| {
            it.state == ReservationState::Held && it.user_id == Some(user_id) && it.event_id == self.event_id
        };
        self.reservations.values().filter(held)
    }

    fn confirm(&mut self, id: Uuid) -> Result<Answer, Refusal> {
        let mut reservation = self.find_reservation(id)?.ok_or(Refusal::ReservationNotFound)?.clone();
        match reservation.state {
            ReservationState::Released => return Err(Refusal::ReservationReleased),
            ReservationState::Confirmed => return Ok(Answer::Reservation(reservation.status())),
            ReservationState::Held => {}
        }
        // An expired hold can still be confirmed: it keeps its seats until it is released.
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
        self.add_sold(&reservation, 1);
        reservation.state = ReservationState::Confirmed;
        Ok(Answer::Reservation(self.put(reservation)))
    }

    fn release(&mut self, id: Uuid, only_expired: bool) -> Result<Answer, Refusal> {
        let Some(reservation) = self.find_reservation(id)? else {
            let tombstone = Reservation::tombstone(id, self.event_id, self.now);
            return Ok(Answer::Reservation(self.put(tombstone)));
        };
        let unchanged =
            reservation.state == ReservationState::Released || only_expired && !reservation.is_expired(self.now);
        let mut reservation = reservation.clone();
        if unchanged {
            return Ok(Answer::Reservation(reservation.status()));
        }
        let held = reservation.state == ReservationState::Held;
        self.move_seats(reservation.seats, |event, seats| {
            *(if held { &mut event.held } else { &mut event.sold }) -= seats;
            event.available += seats;
        })?;
        if !held {
            self.add_sold(&reservation, -1);
        }
        reservation.state = ReservationState::Released;
        Ok(Answer::Reservation(self.put(reservation)))
    }

    fn edit(
        &mut self,
        patch: &EventPatch,
        quiet_period: TimeDelta,
        traceparent: Option<&String>,
    ) -> Result<Answer, Refusal> {
        let event = self.event.as_mut().ok_or(Refusal::EventNotFound)?;
        let context = EditContext { now: self.now, quiet_period, traceparent };
        let edited = event.edit(patch, self.pending.clone(), context)?;
        self.edited |= edited.event != *event;
        *event = edited.event;
        self.pending = edited.pending;
        let answer = Answer::Event(Box::new(event.clone()));
        if let Some(message) = edited.message {
            self.enqueue(message, traceparent);
        }
        Ok(answer)
    }

    fn delete(&mut self, traceparent: Option<&String>) -> Result<Answer, Refusal> {
        let event = self.event.as_ref().ok_or(Refusal::EventNotFound)?;
        if event.taken() == 0 && !event.ever_sold {
            (self.event, self.pending) = (None, None);
            return Ok(Answer::Deleted);
        }
        let cancel = EventPatch { status: Some(EventStatus::Cancelled), ..EventPatch::default() };
        self.edit(&cancel, TimeDelta::zero(), traceparent)
    }

    fn notify_holders(&mut self) -> Answer {
        let now = self.now;
        if let Some(pending) = self.pending.take_if(|pending| pending.due_at <= now)
            && let Some(message) = self.event.as_mut().and_then(|event| event.due_message(&pending, now))
        {
            self.enqueue(message, pending.traceparent.as_ref());
        }
        Answer::HoldersNotified
    }

    fn add_sold(&mut self, reservation: &Reservation, sign: i64) {
        if let Some(user_id) = reservation.user_id {
            *self.sold.entry(user_id).or_default() += sign * i64::from(reservation.seats);
        }
    }

    fn event(&self) -> Result<&Event, Refusal> {
        self.event.as_ref().ok_or(Refusal::EventNotFound)
    }

    /// The reservation with that id. Fails if it belongs to another event.
    fn find_reservation(&self, id: Uuid) -> Result<Option<&Reservation>, Refusal> {
        match self.reservations.get(&id) {
            Some(reservation) if reservation.event_id != self.event_id => Err(Refusal::ReservationMismatch),
            found => Ok(found),
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
        if self.changed_set.insert(reservation.id) {
            self.changed.push(reservation.id);
        }
        let status = reservation.status();
        self.reservations.insert(reservation.id, reservation);
        status
    }

    fn enqueue(&mut self, message: Message, traceparent: Option<&String>) {
        let version = self.event.as_ref().map_or(0, |event| event.version);
        // Every attempt of the same transaction gives the message the same id.
        let name = format!("{}/{}/{version}", self.event_id, message.routing_key());
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
        let traceparent = traceparent.cloned();
        self.messages.push(OutboxMessage { id, message, traceparent, created_at: self.now });
    }

    pub(super) fn finish(
        self,
        event_before: Option<Event>,
        pending_before: Option<&PendingNotification>,
        before: &HashMap<Uuid, Reservation>,
        answers: Vec<Result<Answer, Refusal>>,
    ) -> BatchOutcome {
        let (mut inserts, mut confirms, mut releases) = (Vec::new(), Vec::new(), Vec::new());
        for id in self.changed {
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
        let pending = (self.pending.as_ref() != pending_before).then_some(self.pending);
        BatchOutcome { answers, inserts, confirms, releases, event, pending, messages: self.messages }
    }
}
