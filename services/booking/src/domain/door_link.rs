//! Links with which people without an account check in the tickets of one event.

use chrono::{DateTime, TimeDelta, Utc};

/// The longest that a link may be valid.
pub const MAX_LIFETIME: TimeDelta = TimeDelta::days(90);

#[derive(Clone, Debug)]
pub struct NewDoorLink {
    pub event_id: String,
    /// The user who makes it.
    pub created_by: i32,
    /// What the organizer calls it.
    pub label: String,
    pub expires_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct DoorLink {
    pub id: i32,
    pub event_id: String,
    pub label: String,
    pub expires_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
}

/// Whether a link made now may expire at that time. The error says what is wrong with it.
pub fn check_expiry(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), &'static str> {
    if expires_at <= now {
        return Err("must be in the future");
    }
    if expires_at > now + MAX_LIFETIME {
        return Err("must be within 90 days");
    }
    Ok(())
}
