//! How many seats of one event a person has, and how many more that person may take.
//!
//! Without limits, one account could hold every seat of an event for free, and again whenever the holds end.

use chrono::{DateTime, Utc};

use super::{Event, Refusal};

/// One person's seats of an event at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Person {
    /// Seats held.
    pub(super) held: i64,
    /// Seats bought.
    pub(super) sold: i64,
    /// When the earliest hold ends.
    pub(super) first_end: Option<DateTime<Utc>>,
}

impl Person {
    /// Whether the person may take that many more seats. `paid` means that they are already paid for.
    ///
    /// Free seats are never paid for, so those that a person has count like holds that never end, unless the organizer
    /// sets how many seats a person may have.
    pub(super) fn may_take(&self, event: &Event, seats: i64, paid: bool, now: DateTime<Utc>) -> Result<(), Refusal> {
        let details = &event.details;
        let (free, may_hold) = (details.price == 0, details.max_seats_per_booking);
        let may_have = details.max_seats_per_person.or((free && !paid).then_some(may_hold));
        if let Some(max) = may_have.filter(|max| self.held + self.sold + seats > *max) {
            return Err(Refusal::PersonLimitReached { max });
        }
        if !free && !paid && self.held + seats > may_hold {
            return Err(Refusal::HeldSeatsLimit { max: may_hold, retry_after_seconds: self.seconds_to_wait(now) });
        }
        Ok(())
    }

    /// Seconds until the earliest hold ends, rounded up.
    fn seconds_to_wait(&self, now: DateTime<Utc>) -> u32 {
        let milliseconds = self.first_end.map_or(0, |end| (end - now).num_milliseconds()).max(1);
        u32::try_from(milliseconds.unsigned_abs().div_ceil(1000)).unwrap_or(u32::MAX)
    }
}
