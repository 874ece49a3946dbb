//! Group commit, the pure half: the outcome of a batch of operations on one event.
//!
//! Operations are applied one after the other, in order of arrival, to the event and its reservations as read; the
//! difference at the end is written at once. So duplicates within a batch merge by themselves, and a batch of one needs
//! no code of its own.
//!
//! No seat is sold twice: every operation is checked against the seats that those before it left; the write has the
//! counters as read for its condition, and a conflict applies the batch again to what is there then; an id is inserted
//! once; and the collection's validator refuses counters that do not add up to the capacity. See
//! docs/decisions/0003-group-commit.md.

mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::reservation::{DecreaseCapacity, Hold, ReservationStatus};
use platform::outbox::OutboxMessage;
use uuid::Uuid;

use self::state::BatchState;
use super::{
    edit::EventPatch, event::Event, notification::PendingNotification, refusal::Refusal, reservation::Reservation,
};

/// A request about one event, its counters or its reservations.
#[derive(Clone, Debug)]
pub enum Operation {
    Hold(DecreaseCapacity),
    /// Sell the seats of a hold.
    Confirm {
        reservation_id: Uuid,
    },
    /// Release seats, held or sold. An unknown id becomes a tombstone.
    Release {
        reservation_id: Uuid,
        /// Leave everything but an expired hold as it is.
        only_expired: bool,
    },
    Edit {
        patch: Box<EventPatch>,
        /// How long the event must stay unchanged before holders are notified.
        quiet_period: TimeDelta,
        /// The W3C trace that the change belongs to.
        traceparent: Option<String>,
    },
    /// Notify holders of a change, if that is due.
    NotifyHolders,
    /// Delete the event, or cancel it where a seat is taken or was ever sold.
    Delete {
        /// The W3C trace that the change belongs to.
        traceparent: Option<String>,
    },
}

impl Operation {
    /// The reservation that it concerns, if any.
    pub fn reservation_id(&self) -> Option<Uuid> {
        match self {
            Self::Hold(DecreaseCapacity { reservation_id, .. })
            | Self::Confirm { reservation_id }
            | Self::Release { reservation_id, .. } => Some(*reservation_id),
            Self::Edit { .. } | Self::Delete { .. } | Self::NotifyHolders => None,
        }
    }

    /// Whether it reads or changes the pending notification.
    pub fn needs_pending_notification(&self) -> bool {
        matches!(self, Self::Edit { .. } | Self::Delete { .. } | Self::NotifyHolders)
    }

    /// The user whose seats are counted before it is admitted, if any.
    pub fn user_id(&self) -> Option<i32> {
        match self {
            Self::Hold(request) => request.user_id,
            _ => None,
        }
    }
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Held(Hold),
    /// The reservation after confirm or release.
    Reservation(ReservationStatus),
    /// The event after the operation.
    Event(Box<Event>),
    Deleted,
    /// Holders are notified, if that was still needed.
    HoldersNotified,
}

/// The change of the event itself.
#[derive(Clone, Debug, PartialEq)]
pub enum EventChange {
    Unchanged,
    /// Only its counters and version changed.
    Counters(Event),
    /// Its organizer changed it; counters may have changed as well.
    Edited(Event),
    Deleted,
}

/// The outcome of a batch: an answer to each operation, and what must be written for the answers to be true.
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
    pub event: EventChange,
    /// The new pending notification, if it differs from the one that was read.
    pub pending: Option<Option<PendingNotification>>,
    /// For the outbox.
    pub messages: Vec<OutboxMessage>,
}

/// What a batch is applied to, as read in its transaction.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub event: Option<Event>,
    /// The reservations that operations name, and the holds of users who ask for seats. May contain duplicates.
    pub reservations: Vec<Reservation>,
    /// Seats bought, by user who asks for seats; users without any may be absent.
    pub sold: HashMap<i32, i64>,
    /// Read only for operations that need it.
    pub pending: Option<PendingNotification>,
}

/// Applies operations, in order, to an event and its reservations.
///
/// `now` is the database's time.
pub fn apply_batch(event_id: &str, snapshot: Snapshot, operations: &[Operation], now: DateTime<Utc>) -> BatchOutcome {
    let Snapshot { event, reservations, sold, pending } = snapshot;
    let before: HashMap<_, _> = reservations.into_iter().map(|reservation| (reservation.id, reservation)).collect();
    let mut state = BatchState::new(event_id, event.clone(), before.clone(), sold, pending.clone(), now);
    let answers = operations.iter().map(|operation| state.apply(operation)).collect();
    state.finish(event, pending.as_ref(), &before, answers)
}
