//! Tickets, and the rules for checking them in and changing their holders.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::text::{TextError, check_line};
use schemars::JsonSchema;
use serde::Serialize;
use strum::{EnumString, IntoStaticStr};
use thiserror::Error;
use uuid::Uuid;

/// How long before the event its tickets may be checked in.
pub const CHECK_IN_OPENS_BEFORE: TimeDelta = TimeDelta::hours(24);

#[derive(Clone, Copy, Debug, EnumString, Eq, IntoStaticStr, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum TicketState {
    /// Of a Confirmed booking, and not checked in.
    Valid,
    /// Checked in.
    Used,
    /// The booking was cancelled.
    Void,
}

/// A ticket for one seat, with what it needs of its booking.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub id: i32,
    pub booking_id: i32,
    /// 1 to the number of the booking's seats.
    pub seat: i32,
    /// Empty once the owner has deleted the account.
    pub holder_name: String,
    pub state: TicketState,
    /// What the ticket's code names.
    pub code_id: Uuid,
    /// Grows with every change.
    pub version: i32,
    /// When it was checked in; kept if the booking is cancelled afterwards.
    pub checked_in_at: Option<DateTime<Utc>>,
    /// What the scanner called itself.
    pub device: Option<String>,
    /// The scanner's name for the scan.
    pub scan_id: Option<Uuid>,
    /// The owner of the booking.
    pub user_id: i32,
    pub event_id: String,
    pub event_title: Option<String>,
    pub event_starts_at: Option<DateTime<Utc>>,
    pub organizer_id: Option<i32>,
}

/// A scan of a ticket's code at the door.
#[derive(Clone, Debug)]
pub struct Scan {
    pub event_id: String,
    /// The same for a scan that is sent again.
    pub scan_id: Option<Uuid>,
    pub device: Option<String>,
}

/// Why a ticket cannot be checked in.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CheckInRefusal {
    /// We never signed the code.
    #[error("this is not a code of ours")]
    Forged,
    /// The ticket has a new code since it got another holder.
    #[error("this code was replaced by a new one; ask for the present ticket")]
    Replaced,
    #[error("the booking of this ticket was cancelled")]
    Void,
    #[error("this ticket is for another event")]
    OtherEvent,
    #[error("tickets of this event can be checked in from {}", .0.to_rfc3339())]
    TooEarly(DateTime<Utc>),
    #[error("this ticket was checked in at {}", .at.to_rfc3339())]
    AlreadyCheckedIn { at: DateTime<Utc>, device: Option<String> },
    /// Another ticket was checked in by a scan of that id.
    #[error("this scan_id checked another ticket in; every scan needs an id of its own")]
    ScanIdReused,
}

/// Why a ticket's holder cannot be changed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RenameRefusal {
    #[error("the booking of this ticket was cancelled")]
    Void,
    #[error("this ticket was checked in already")]
    AlreadyCheckedIn,
    #[error("the event has started")]
    EventStarted,
}

/// A holder's name: one line of 1 to 100 characters, trimmed, that passes [`check_line`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HolderName(String);

impl Ticket {
    /// Whether it was this scan that checked the ticket in.
    pub fn was_checked_in_by(&self, scan: &Scan) -> bool {
        let same_scan = scan.scan_id.is_some() && self.scan_id == scan.scan_id;
        self.state == TicketState::Used && self.event_id == scan.event_id && same_scan
    }

    pub fn may_check_in(&self, event_id: &str, now: DateTime<Utc>) -> Result<(), CheckInRefusal> {
        if self.event_id != event_id {
            return Err(CheckInRefusal::OtherEvent);
        }
        match (self.state, self.checked_in_at) {
            (TicketState::Void, _) => return Err(CheckInRefusal::Void),
            (TicketState::Used, at) => {
                let at = at.unwrap_or(now);
                return Err(CheckInRefusal::AlreadyCheckedIn { at, device: self.device.clone() });
            }
            (TicketState::Valid, _) => {}
        }
        let opens_at = self.event_starts_at.map(|starts_at| starts_at - CHECK_IN_OPENS_BEFORE);
        match opens_at.filter(|opens_at| now < *opens_at) {
            Some(opens_at) => Err(CheckInRefusal::TooEarly(opens_at)),
            None => Ok(()),
        }
    }

    pub fn may_rename(&self, now: DateTime<Utc>) -> Result<(), RenameRefusal> {
        match self.state {
            TicketState::Void => Err(RenameRefusal::Void),
            TicketState::Used => Err(RenameRefusal::AlreadyCheckedIn),
            TicketState::Valid if self.event_starts_at.is_some_and(|starts_at| starts_at <= now) => {
                Err(RenameRefusal::EventStarted)
            }
            TicketState::Valid => Ok(()),
        }
    }
}

impl HolderName {
    /// Trims `text`. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        parse_line(text, 100).map(Self).map_err(|fault| fault.unwrap_or("must have 1 to 100 characters"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A label of organizers or scanners: one line of 1 to 60 characters, trimmed. The error says what is wrong with it.
pub fn parse_label(text: &str) -> Result<String, &'static str> {
    parse_line(text, 60).map_err(|fault| fault.unwrap_or("must have 1 to 60 characters"))
}

/// The trimmed text. Fails with `None` if it has the wrong length.
fn parse_line(text: &str, max_chars: usize) -> Result<String, Option<&'static str>> {
    let text = text.trim();
    if !(1..=max_chars).contains(&text.chars().count()) {
        return Err(None);
    }
    check_line(text).map_err(TextError::message).map_err(Some)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    /// A ticket of an event that starts at hour 100.
    fn ticket(state: TicketState) -> Ticket {
        Ticket {
            id: 1,
            booking_id: 2,
            seat: 1,
            holder_name: "Ada".to_owned(),
            state,
            code_id: Uuid::nil(),
            version: 1,
            checked_in_at: (state == TicketState::Used).then(|| at(99)),
            device: Some("north".to_owned()),
            scan_id: Some(Uuid::max()),
            user_id: 3,
            event_id: "e".to_owned(),
            event_title: Some("Concert".to_owned()),
            event_starts_at: Some(at(100)),
            organizer_id: Some(4),
        }
    }

    #[test]
    fn a_valid_ticket_may_be_checked_in_from_a_day_before_its_event() {
        let ticket = ticket(TicketState::Valid);

        assert_eq!(ticket.may_check_in("e", at(75)), Err(CheckInRefusal::TooEarly(at(76))));
        assert_eq!(ticket.may_check_in("e", at(76)), Ok(()));
        assert_eq!(ticket.may_check_in("e", at(1000)), Ok(()));
        assert_eq!(ticket.may_check_in("f", at(99)), Err(CheckInRefusal::OtherEvent));
    }

    #[test]
    fn used_and_void_tickets_are_refused() {
        let first = CheckInRefusal::AlreadyCheckedIn { at: at(99), device: Some("north".to_owned()) };

        assert_eq!(ticket(TicketState::Used).may_check_in("e", at(99)), Err(first));
        assert_eq!(ticket(TicketState::Void).may_check_in("e", at(99)), Err(CheckInRefusal::Void));
    }

    #[test]
    fn only_a_scan_with_an_id_is_recognized() {
        let scan = |scan_id| Scan { event_id: "e".to_owned(), scan_id, device: None };
        let (used, valid) = (ticket(TicketState::Used), ticket(TicketState::Valid));

        assert!(used.was_checked_in_by(&scan(Some(Uuid::max()))));
        assert!(!used.was_checked_in_by(&scan(Some(Uuid::nil()))));
        assert!(!Ticket { scan_id: None, ..used }.was_checked_in_by(&scan(None)));
        assert!(!valid.was_checked_in_by(&scan(Some(Uuid::max()))));
    }

    #[test]
    fn the_holder_may_change_until_the_event_starts() {
        assert_eq!(ticket(TicketState::Valid).may_rename(at(99)), Ok(()));
        assert_eq!(ticket(TicketState::Valid).may_rename(at(100)), Err(RenameRefusal::EventStarted));
        assert_eq!(ticket(TicketState::Used).may_rename(at(99)), Err(RenameRefusal::AlreadyCheckedIn));
        assert_eq!(ticket(TicketState::Void).may_rename(at(99)), Err(RenameRefusal::Void));
    }

    #[test]
    fn a_name_is_one_line_that_shows_something() {
        assert_eq!(HolderName::parse("  Zoë ").unwrap().as_str(), "Zoë");
        for bad in ["", " ", "a\nb", "\u{202e}x", &"x".repeat(101)] {
            assert!(HolderName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse_label(&"x".repeat(61)).is_err());
    }
}
