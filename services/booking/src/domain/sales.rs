//! Who comes to an event, what it has brought in, and the sheet that organizers take away.

use chrono::{DateTime, NaiveDate, Utc};
use contracts::money;

/// A Confirmed booking, as the event's organizer sees it.
#[derive(Clone, Debug)]
pub struct Attendee {
    /// The booking's number.
    pub booking_id: i32,
    /// The owner's name at the time of booking.
    pub name: String,
    /// The owner's e-mail address at the time of booking.
    pub email: String,
    /// How many seats.
    pub seats: i32,
    /// What was paid, in minor units of `currency`.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// When it was booked.
    pub created_at: DateTime<Utc>,
}

/// Bookings made on one day, in one currency.
#[derive(Clone, Debug)]
pub struct DaySales {
    /// By the clock of the event's time zone.
    pub date: NaiveDate,
    /// ISO 4217.
    pub currency: String,
    /// Seats of bookings that stand.
    pub seats: i64,
    /// What was paid for them, in minor units.
    pub amount: i64,
    /// Seats that were sold that day and cancelled since.
    pub cancelled_seats: i64,
    /// What was paid for those, and goes or went back.
    pub cancelled_amount: i64,
}

/// All bookings of an event, in one currency. The figures are those of [`DaySales`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields of DaySales, under the same names")]
pub struct EventSales {
    pub event_id: String,
    pub currency: String,
    pub seats: i64,
    pub amount: i64,
    pub cancelled_seats: i64,
    pub cancelled_amount: i64,
}

/// The first line of the sheet.
pub const SHEET_HEAD: &str = "booking_id,name,email,seats,amount,currency,booked_at\r\n";

impl Attendee {
    /// The booking's line in the sheet: comma-separated values of RFC 4180, the amount in major units.
    pub fn sheet_line(&self) -> String {
        let Self { booking_id, name, email, seats, amount, currency, created_at } = self;
        let (name, email, amount) = (cell(name), cell(email), money::decimal(*amount, currency));
        let time = created_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        format!("{booking_id},{name},{email},{seats},{amount},{currency},{time}\r\n")
    }
}

/// A text that somebody else wrote. Programs take what begins like a formula for one, unless an apostrophe stands
/// before it (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn cell(text: &str) -> String {
    let apostrophe = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{apostrophe}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{apostrophe}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_like_a_formula_gets_an_apostrophe() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"] {
            assert_eq!(cell(text), format!("'{text}"));
        }
        assert_eq!(cell("=HYPERLINK(\"http://x\",\"y\")"), "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"");
        assert_eq!(cell("\r=1"), "\"'\r=1\"");
        assert_eq!(cell("a-b@c=d"), "a-b@c=d");
    }

    #[test]
    fn separators_and_quotes_are_quoted() {
        assert_eq!(cell("Lovelace, Ada"), "\"Lovelace, Ada\"");
        assert_eq!(cell("the \"great\""), "\"the \"\"great\"\"\"");
        assert_eq!(cell("Zoë"), "Zoë");
    }
}
