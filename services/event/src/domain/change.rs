//! Changes that holders are not told of yet.
//!
//! An organizer who corrects three fields one after the other causes one notification. So a change waits until nothing
//! has changed for a quiet time, or ten of them since the first change. Reverted changes are not reported.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::message::Message;

use super::{Details, Event, EventStatus, event::normalized_zone};

/// The longest wait since the first change, in quiet times.
const LONGEST_WAIT: i32 = 10;

/// What attendees rely on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Essentials {
    /// The title.
    pub title: String,
    /// The venue.
    pub venue: String,
    /// IANA zone of the venue.
    pub time_zone: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
}

/// The event differs from what its holders were last told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UntoldChange {
    /// What they were last told.
    pub told: Essentials,
    /// When it first changed after that.
    pub first_at: DateTime<Utc>,
    /// When they are told, unless it changes again before.
    pub due_at: DateTime<Utc>,
    /// The version that the last change made.
    pub edited_version: i64,
    /// The trace that the last change belongs to.
    pub traceparent: Option<String>,
}

/// An edit: when it happens, and how holders are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edit<'a> {
    /// The database's time.
    pub(super) now: DateTime<Utc>,
    /// For how long nothing may change before holders are told.
    pub(super) quiet: TimeDelta,
    /// The trace that it belongs to.
    pub(super) traceparent: Option<&'a String>,
}

impl Details {
    /// What attendees rely on.
    pub(super) fn essentials(&self) -> Essentials {
        Essentials {
            title: self.title.clone(),
            venue: self.venue.clone(),
            time_zone: self.time_zone.clone(),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
        }
    }
}

impl Essentials {
    /// The names of the fields that differ.
    fn changed(&self, next: &Self) -> Vec<String> {
        let changes = [
            ("title", self.title != next.title),
            ("venue", self.venue != next.venue),
            ("starts_at", self.starts_at != next.starts_at),
            ("ends_at", self.ends_at != next.ends_at),
            // Another name for the same zone changes nothing for attendees.
            ("time_zone", normalized_zone(&self.time_zone) != normalized_zone(&next.time_zone)),
        ];
        changes.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name.to_owned()).collect()
    }
}

impl Event {
    /// The message about an edit that made `next`, to be sent at once, and what holders are told later.
    ///
    /// booking-service applies every change at once. A cancellation never waits, nor does a change of an event that
    /// begins, or was to begin, before holders would be told.
    pub(super) fn tell_edit(
        &self,
        next: &Self,
        untold: Option<UntoldChange>,
        edit: Edit<'_>,
    ) -> (Option<Message>, Option<UntoldChange>) {
        if self.status != EventStatus::Published {
            return (None, None);
        }
        if next.status == EventStatus::Cancelled {
            return (Some(Message::EventCancelled(next.fact(Vec::new(), edit.now))), None);
        }
        // If no seats are taken, there is nobody to tell.
        if next.status != EventStatus::Published || self.taken() == 0 {
            return (None, None);
        }
        let (before, after) = (self.details.essentials(), next.details.essentials());
        if before.changed(&after).is_empty() {
            return (None, untold);
        }
        let (told, first_at) = untold.map_or((before, edit.now), |untold| (untold.told, untold.first_at));
        let due_at = (edit.now + edit.quiet).min(first_at + edit.quiet * LONGEST_WAIT);
        let at_once = due_at <= edit.now || told.starts_at.min(after.starts_at) <= due_at;
        let changed = told.changed(&after);
        let waits = !at_once && !changed.is_empty();
        let mut fact = next.fact(changed, edit.now);
        fact.edited_version = Some(next.version);
        // booking-service must apply a reverted change too.
        fact.untold = waits || fact.changed.is_empty();
        let (edited_version, traceparent) = (next.version, edit.traceparent.cloned());
        let untold = waits.then_some(UntoldChange { told, first_at, due_at, edited_version, traceparent });
        (Some(Message::EventChanged(fact)), untold)
    }

    /// The message to holders about a change that waited, if anything still differs and anybody holds seats.
    pub(super) fn tell_change(&mut self, untold: &UntoldChange, now: DateTime<Utc>) -> Option<Message> {
        let changed = untold.told.changed(&self.details.essentials());
        if self.status != EventStatus::Published || self.taken() == 0 || changed.is_empty() {
            return None;
        }
        // A higher version, so that consumers do not skip it as older than what they applied.
        self.version += 1;
        let mut fact = self.fact(changed, now);
        fact.edited_version = Some(untold.edited_version);
        Some(Message::EventChanged(fact))
    }
}
