//! Changes by the organizer, and which of them are allowed.

use chrono::{DateTime, Utc};
use contracts::message::Message;
use platform::error::FieldError;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::{
    details::{Details, non_empty, normalized_currency, normalized_zone, to_millisecond, trimmed},
    event::{Event, EventStatus},
    notification::{EditContext, PendingNotification},
    refusal::Refusal,
    validate::validate_change,
};

/// A change of an event: only the fields that are given. `null` clears an optional field.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(rename = "UpdateEvent")]
#[serde(default, deny_unknown_fields)]
pub struct EventPatch {
    /// One line, 1 to 200 characters.
    pub title: Option<String>,
    /// Any text, up to 5,000 characters.
    pub description: Option<String>,
    /// Where, 1 to 200 characters.
    pub venue: Option<String>,
    /// IANA zone of the venue.
    pub time_zone: Option<String>,
    /// When it begins.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends.
    pub ends_at: Option<DateTime<Utc>>,
    /// Seats in all, not less than are held and sold.
    pub capacity: Option<i64>,
    /// Per seat, for later bookings.
    pub price: Option<i64>,
    /// ISO 4217, for later bookings.
    pub currency: Option<String>,
    /// To filter by.
    #[serde(deserialize_with = "nullable")]
    pub category: Option<Option<String>>,
    /// The https address of a picture.
    #[serde(deserialize_with = "nullable")]
    pub image_url: Option<Option<String>>,
    /// When sales begin.
    #[serde(deserialize_with = "nullable")]
    pub sales_start_at: Option<Option<DateTime<Utc>>>,
    /// When sales end.
    #[serde(deserialize_with = "nullable")]
    pub sales_end_at: Option<Option<DateTime<Utc>>>,
    /// Seats that one booking may have, 1 to 100.
    pub max_seats_per_booking: Option<i64>,
    /// Seats that one person may have, held and sold, 1 to 1,000,000; for later bookings.
    #[serde(deserialize_with = "nullable")]
    pub max_seats_per_person: Option<Option<i64>>,
    /// `published`; `draft` again while no seat is taken; `cancelled`, for good.
    pub status: Option<EventStatus>,
}

/// Tells a field that is `null` from one that is absent.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The result of an edit.
pub(super) struct Edited {
    /// The event after the edit.
    pub(super) event: Event,
    /// To be sent at once.
    pub(super) message: Option<Message>,
    /// What holders are notified of later.
    pub(super) pending: Option<PendingNotification>,
}

impl Event {
    /// Applies a change. One that changes nothing is always allowed.
    pub(super) fn edit(
        &self,
        patch: &EventPatch,
        pending: Option<PendingNotification>,
        context: EditContext<'_>,
    ) -> Result<Edited, Refusal> {
        let mut event = self.clone();
        event.details = self.details.patched(patch);
        event.capacity = patch.capacity.unwrap_or(self.capacity);
        event.status = patch.status.unwrap_or(self.status);
        if event == *self {
            return Ok(Edited { event, message: None, pending });
        }
        self.check_edit(&event, context.now)?;
        event.available = event.capacity - event.taken();
        event.version += 1;
        event.updated_at = context.now;
        let (message, pending) = self.edit_message(&event, pending, context);
        Ok(Edited { event, message, pending })
    }

    fn check_edit(&self, next: &Self, now: DateTime<Utc>) -> Result<(), Refusal> {
        if self.status == EventStatus::Cancelled {
            return Err(Refusal::EventCancelled);
        }
        let (before, after) = (&self.details, &next.details);
        let mut errors = validate_change((before, self.capacity), (after, next.capacity));
        // Moving an event into the past would take away the right of its holders to cancel.
        for (field, moved, at) in [
            ("starts_at", after.starts_at != before.starts_at, after.starts_at),
            ("ends_at", after.ends_at != before.ends_at, after.ends_at),
        ] {
            if moved && at <= now {
                errors.push(FieldError::new(field, "must be in the future"));
            }
        }
        if !errors.is_empty() {
            return Err(Refusal::Invalid(errors));
        }
        let taken = self.taken();
        if next.capacity < taken {
            return Err(Refusal::CapacityBelowSold { taken });
        }
        if next.status == EventStatus::Draft && taken > 0 {
            return Err(Refusal::SeatsTaken { taken });
        }
        Ok(())
    }
}

impl Details {
    /// With the fields of the patch in their stored form. The others stay unchanged, even if their stored form is
    /// outdated.
    fn patched(&self, patch: &EventPatch) -> Self {
        fn field<T: Clone>(new: Option<T>, old: &T) -> T {
            new.unwrap_or_else(|| old.clone())
        }
        let line = |text: &Option<String>| text.as_deref().map(trimmed);
        let optional = |text: &Option<Option<String>>| text.as_ref().map(|text| text.as_deref().and_then(non_empty));
        let instant = |at: Option<Option<DateTime<Utc>>>| at.map(|at| at.map(to_millisecond));
        Self {
            title: field(line(&patch.title), &self.title),
            description: field(patch.description.clone(), &self.description),
            venue: field(line(&patch.venue), &self.venue),
            time_zone: field(patch.time_zone.as_deref().map(normalized_zone), &self.time_zone),
            starts_at: field(patch.starts_at.map(to_millisecond), &self.starts_at),
            ends_at: field(patch.ends_at.map(to_millisecond), &self.ends_at),
            price: field(patch.price, &self.price),
            currency: field(patch.currency.as_deref().map(normalized_currency), &self.currency),
            category: field(optional(&patch.category), &self.category),
            image_url: field(optional(&patch.image_url), &self.image_url),
            sales_start_at: field(instant(patch.sales_start_at), &self.sales_start_at),
            sales_end_at: field(instant(patch.sales_end_at), &self.sales_end_at),
            max_seats_per_booking: field(patch.max_seats_per_booking, &self.max_seats_per_booking),
            max_seats_per_person: field(patch.max_seats_per_person, &self.max_seats_per_person),
        }
    }
}
