//! Which changes of an event holders are notified of, and when.
//!
//! An organizer who corrects three fields one after the other causes one notification: it waits until the event has
//! not changed for a quiet period, or until ten quiet periods have passed since the first change. Changes that were
//! reverted meanwhile are not reported.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::message::Message;

use super::{
    details::{Details, normalized_zone},
    event::{Event, EventStatus},
};

/// The longest wait since the first change, in quiet periods.
const MAX_QUIET_PERIODS: i32 = 10;

/// The details whose changes holders are notified of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NotifiedDetails {
    pub title: String,
    pub venue: String,
    /// IANA zone of the venue.
    pub time_zone: String,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
}

/// A notification of holders that waits for the end of the quiet period.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PendingNotification {
    /// What holders were last notified of.
    pub last_notified: NotifiedDetails,
    /// When the event first changed after that.
    pub first_changed_at: DateTime<Utc>,
    /// When holders are notified, unless another edit moves it.
    pub due_at: DateTime<Utc>,
    /// The version that the last change made.
    pub edited_version: i64,
    /// The W3C trace that the last change belongs to.
    pub traceparent: Option<String>,
}

/// The circumstances of an edit.
#[derive(Clone, Copy, Debug)]
pub(super) struct EditContext<'a> {
    /// The database's time.
    pub(super) now: DateTime<Utc>,
    /// How long the event must stay unchanged before holders are notified.
    pub(super) quiet_period: TimeDelta,
    /// The W3C trace that the edit belongs to.
    pub(super) traceparent: Option<&'a String>,
}

impl From<&Details> for NotifiedDetails {
    fn from(details: &Details) -> Self {
        Self {
            title: details.title.clone(),
            venue: details.venue.clone(),
            time_zone: details.time_zone.clone(),
            starts_at: details.starts_at,
            ends_at: details.ends_at,
        }
    }
}

impl NotifiedDetails {
    /// The names of the fields that differ.
    fn changed_fields(&self, next: &Self) -> Vec<String> {
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
    /// The message to send at once about an edit that made `next`, and the notification of holders that is then
    /// pending.
    ///
    /// booking-service applies every change at once. Holders are notified at once of a cancellation, and of a change
    /// of an event that begins, or was to begin, before the notification would be due.
    pub(super) fn edit_message(
        &self,
        next: &Self,
        pending: Option<PendingNotification>,
        context: EditContext<'_>,
    ) -> (Option<Message>, Option<PendingNotification>) {
        if self.status != EventStatus::Published {
            return (None, None);
        }
        if next.status == EventStatus::Cancelled {
            return (Some(Message::EventCancelled(next.fact(Vec::new(), context.now))), None);
        }
        // If no seats are taken, there are no holders.
        if next.status != EventStatus::Published || self.taken() == 0 {
            return (None, None);
        }
        let (before, after) = (NotifiedDetails::from(&self.details), NotifiedDetails::from(&next.details));
        if before.changed_fields(&after).is_empty() {
            return (None, pending);
        }
        let EditContext { now, quiet_period, traceparent } = context;
        let (last_notified, first_changed_at) =
            pending.map_or((before, now), |pending| (pending.last_notified, pending.first_changed_at));
        let due_at = (now + quiet_period).min(first_changed_at + quiet_period * MAX_QUIET_PERIODS);
        let is_urgent = due_at <= now || last_notified.starts_at.min(after.starts_at) <= due_at;
        let changed = last_notified.changed_fields(&after);
        let waits = !is_urgent && !changed.is_empty();
        let mut fact = next.fact(changed, now);
        fact.edited_version = Some(next.version);
        // booking-service must apply a reverted change too.
        fact.unannounced = waits || fact.changed.is_empty();
        let (edited_version, traceparent) = (next.version, traceparent.cloned());
        let pending = PendingNotification { last_notified, first_changed_at, due_at, edited_version, traceparent };
        (Some(Message::EventChanged(fact)), waits.then_some(pending))
    }

    /// The message of a notification that is due, if anything still differs and any seats are taken.
    pub(super) fn due_message(&mut self, pending: &PendingNotification, now: DateTime<Utc>) -> Option<Message> {
        let changed = pending.last_notified.changed_fields(&NotifiedDetails::from(&self.details));
        if self.status != EventStatus::Published || self.taken() == 0 || changed.is_empty() {
            return None;
        }
        // A higher version, so that consumers do not skip it as older than what they applied.
        self.version += 1;
        let mut fact = self.fact(changed, now);
        fact.edited_version = Some(pending.edited_version);
        Some(Message::EventChanged(fact))
    }
}
