//! How many seats of one event a user has, and how many more that user may take.
//!
//! Without limits, one account could hold every seat of an event for free, and again whenever the holds end.

use chrono::{DateTime, Utc};

use super::{event::Event, refusal::Refusal};

/// One user's seats of an event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UserSeats {
    pub(super) held: i64,
    pub(super) sold: i64,
    /// When the earliest hold ends.
    pub(super) first_expiry: Option<DateTime<Utc>>,
}

impl UserSeats {
    /// Whether the user may take that many more seats. `paid` means that they are already paid for.
    ///
    /// Free seats are never paid for, so those that a user has count like holds that never end, unless the organizer
    /// sets how many seats a user may have.
    pub(super) fn check_limits(
        &self,
        event: &Event,
        seats: i64,
        paid: bool,
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        let details = &event.details;
        let (free, max_held) = (details.price == 0, details.max_seats_per_booking);
        let max_total = details.max_seats_per_person.or((free && !paid).then_some(max_held));
        if let Some(max) = max_total.filter(|max| self.held + self.sold + seats > *max) {
            return Err(Refusal::PersonLimitReached { max });
        }
        if !free && !paid && self.held + seats > max_held {
            return Err(Refusal::HeldSeatsLimit { max: max_held, retry_after_seconds: self.retry_after_seconds(now) });
        }
        Ok(())
    }

    /// Seconds until the earliest hold ends, rounded up, at least 1.
    fn retry_after_seconds(&self, now: DateTime<Utc>) -> u32 {
        let milliseconds = self.first_expiry.map_or(0, |end| (end - now).num_milliseconds()).max(1);
        u32::try_from(milliseconds.unsigned_abs().div_ceil(1000)).unwrap_or(u32::MAX)
    }
}
