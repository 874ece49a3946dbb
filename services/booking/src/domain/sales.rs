//! Attendees and sales of an event, and their export as CSV.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use contracts::{
    money,
    text::{fold, is_hidden},
};

use super::BookingStatus;

/// A booking as the event's organizer sees it.
#[derive(Clone, Debug)]
pub struct Attendee {
    pub booking_id: i32,
    /// At the time of booking, like the e-mail address.
    pub name: String,
    pub email: String,
    pub seats: i32,
    /// What was paid, in minor units of `currency`.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// Confirmed, or Cancelled together with the whole event.
    pub status: BookingStatus,
    pub created_at: DateTime<Utc>,
}

/// Bookings made on one day, in one currency.
#[derive(Clone, Debug)]
pub struct DaySales {
    /// In the event's time zone.
    pub date: NaiveDate,
    /// ISO 4217.
    pub currency: String,
    /// Seats of Confirmed bookings.
    pub seats: i64,
    /// Minor units.
    pub amount: i64,
    /// Seats sold that day and cancelled since.
    pub cancelled_seats: i64,
    /// Refunded, or to be refunded; minor units.
    pub cancelled_amount: i64,
}

/// All bookings of an event, in one currency; the fields are those of [`DaySales`].
#[derive(Clone, Debug)]
pub struct EventSales {
    pub event_id: String,
    pub currency: String,
    pub seats: i64,
    pub amount: i64,
    pub cancelled_seats: i64,
    pub cancelled_amount: i64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Day {
    pub date: NaiveDate,
    /// The first instant of the day in the time zone.
    pub begins_at: DateTime<Utc>,
}

/// The days in `zone` from the day of `first` to the day after that of `last`. Days are 23 or 25 hours long when clocks
/// change, and may begin after midnight, because a clock may skip it.
pub fn days(zone: Tz, first: DateTime<Utc>, last: DateTime<Utc>) -> Vec<Day> {
    let local = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
    let dates = local(first).iter_days().take_while(|date| date.pred_opt().is_none_or(|day| day <= local(last)));
    dates.map(|date| Day { date, begins_at: beginning(zone, date) }).collect()
}

fn beginning(zone: Tz, date: NaiveDate) -> DateTime<Utc> {
    let midnight = date.and_time(NaiveTime::MIN);
    match zone.from_local_datetime(&midnight) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
        // The first instant after the gap that the clock skips.
        LocalResult::None => GapInfo::new(&midnight, &zone)
            .and_then(|gap| gap.end)
            .map_or_else(|| midnight.and_utc(), |end| end.to_utc()),
    }
}

/// The search key of an attendee: the folded name and e-mail address.
pub fn attendee_key(name: &str, email: &str) -> String {
    format!("{}\n{}", fold(name), fold(email))
}

/// The terms of a search, each of which must be part of an attendee's key. A search without terms finds nobody.
pub fn search_terms(search: &str) -> Vec<String> {
    fold(search).split_whitespace().map(str::to_owned).collect()
}

/// The header line, after the byte order mark by which spreadsheets recognize UTF-8.
pub const CSV_HEADER: &str =
    "\u{feff}\"booking_id\",\"name\",\"email\",\"seats\",\"amount\",\"currency\",\"booked_at\",\"status\"\r\n";

impl Attendee {
    /// A line of comma-separated values (RFC 4180), with the amount in major units.
    pub fn csv_line(&self) -> String {
        let Self { booking_id, name, email, seats, amount, currency, status, created_at } = self;
        let (name, email, currency_cell) = (cell(name), cell(email), cell(currency));
        let amount = money::decimal(*amount, currency);
        let time = cell(&created_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        let status = cell(status.into_str());
        format!("{booking_id},{name},{email},{seats},{amount},{currency_cell},{time},{status}\r\n")
    }
}

/// Quotes a text so that no spreadsheet takes it for a formula. A formula starts at the beginning of a cell, where an
/// apostrophe prevents it (<https://owasp.org/www-community/attacks/CSV_Injection>). A cell may also start inside the
/// text, because a program with another separator, such as a semicolon, does not recognize the quotes.
fn cell(text: &str) -> String {
    let safe = text.split_inclusive(is_separator).map(|part| {
        // Spreadsheets also recognize a formula after blanks and quotes, and some drop invisible characters, which names
        // of older accounts may have.
        let start = part.trim_start_matches(|c: char| c.is_whitespace() || is_hidden(c) || matches!(c, '"' | '\''));
        let apostrophe = if start.starts_with(FORMULA) { "'" } else { "" };
        format!("{apostrophe}{}", part.replace('"', "\"\""))
    });
    let apostrophe = if text.starts_with(char::is_control) { "'" } else { "" };
    format!("\"{apostrophe}{}\"", safe.collect::<String>())
}

/// The characters that start a formula, and those that localized spreadsheets treat like them.
const FORMULA: [char; 20] =
    ['=', '+', '-', '@', '＝', '＋', '－', '＠', '﹦', '﹢', '﹣', '﹫', '⁼', '⁺', '⁻', '₌', '₊', '₋', '−', '﬩'];

/// Whether some spreadsheet ends a cell at this character.
fn is_separator(character: char) -> bool {
    character.is_control() || matches!(character, ',' | ';' | '|' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The lengths in hours of the days from one instant to another.
    fn hours(zone: Tz, first: &str, last: &str) -> Vec<f64> {
        let days = days(zone, at(first), at(last));
        #[expect(clippy::cast_precision_loss, reason = "hours of a day")]
        days.windows(2).map(|pair| (pair[1].begins_at - pair[0].begins_at).num_minutes() as f64 / 60.0).collect()
    }

    #[test]
    fn days_are_shorter_or_longer_when_clocks_change() {
        let spring = hours(Tz::Europe__Berlin, "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        let autumn = hours(Tz::Europe__Berlin, "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        let half_an_hour = hours(Tz::Australia__Lord_Howe, "2026-04-04T12:00:00Z", "2026-04-05T12:00:00Z");

        assert_eq!((spring, autumn), (vec![24.0, 23.0, 24.0], vec![24.0, 25.0, 24.0]));
        assert_eq!(half_an_hour, [24.0, 24.5]);
    }

    #[test]
    fn days_begin_when_the_date_changes_even_without_a_midnight() {
        // Kathmandu is 5:45 ahead. In Beirut the clocks went from midnight to one o'clock.
        let kathmandu = days(Tz::Asia__Kathmandu, at("2026-05-01T18:14:59Z"), at("2026-05-01T18:15:00Z"));
        let beirut = days(Tz::Asia__Beirut, at("2022-03-26T12:00:00Z"), at("2022-03-27T12:00:00Z"));

        assert_eq!(kathmandu[1].begins_at, at("2026-05-01T18:15:00Z"));
        assert_eq!(
            kathmandu.iter().map(|day| day.date.to_string()).collect::<Vec<_>>(),
            ["2026-05-01", "2026-05-02", "2026-05-03"]
        );
        assert_eq!(beirut[1].begins_at, at("2022-03-26T22:00:00Z"));
        assert_eq!(beirut[2].begins_at, at("2022-03-27T21:00:00Z"));
    }

    #[test]
    fn a_day_that_the_calendar_skips_is_empty() {
        // Samoa went from 29 to 31 December 2011.
        assert_eq!(hours(Tz::Pacific__Apia, "2011-12-29T12:00:00Z", "2011-12-30T12:00:00Z"), [24.0, 0.0, 24.0]);
    }

    #[test]
    fn a_search_is_folded_like_the_names() {
        let key = attendee_key("Zoe\u{308} Ørsted", "Zoe@Example.org");

        assert_eq!(key, "zoe orsted\nzoe@example.org");
        assert!(search_terms("ORSTED Zo\u{eb}").iter().all(|term| key.contains(term)));
        assert_eq!(search_terms("("), ["("]);
        assert_eq!(search_terms("\u{200b}"), [""; 0]);
    }

    #[test]
    fn every_text_is_quoted() {
        assert_eq!(cell("Zoë"), "\"Zoë\"");
        assert_eq!(cell(""), "\"\"");
        assert_eq!(cell("Lovelace, Ada"), "\"Lovelace, Ada\"");
        assert_eq!(cell("the \"great\""), "\"the \"\"great\"\"\"");
        assert_eq!(cell("a-b@c=d"), "\"a-b@c=d\"");
    }

    #[test]
    fn an_apostrophe_precedes_what_looks_like_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "  =1+1", "＝1+1", "＋1", "－1", "＠x", "−1", "'=1", "\u{a0}=1"]
        {
            assert_eq!(cell(text), format!("\"'{text}\""));
        }
        for text in
            ["\u{feff}=1", "\u{200b}@x", "\u{200b} \u{2066}+1", "\u{ad}-1", "\u{61c}\u{3164}=1", "\u{3000}＝1", "﹦1"]
        {
            assert_eq!(cell(text), format!("\"'{text}\""));
        }
        assert_eq!(cell("\tx"), "\"'\tx\"");
        assert_eq!(cell("\r=1"), "\"'\r'=1\"");
        assert_eq!(cell("\"=1+1\""), "\"'\"\"=1+1\"\"\"");
        assert_eq!(cell("=HYPERLINK(\"http://x\")"), "\"'=HYPERLINK(\"\"http://x\"\")\"");
    }

    #[test]
    fn an_apostrophe_precedes_a_formula_after_a_localized_separator() {
        for (text, safe) in [
            ("x;=1+1", "x;'=1+1"),
            ("x,=1+1", "x,'=1+1"),
            ("x; \"=1+1", "x;' \"\"=1+1"),
            ("x\t=1+1", "x\t'=1+1"),
            ("x\n@y;-z|+w", "x\n'@y;'-z|'+w"),
            ("x\u{2028}=1", "x\u{2028}'=1"),
            ("x;＝1+1", "x;'＝1+1"),
        ] {
            assert_eq!(cell(text), format!("\"{safe}\""));
        }
    }

    #[test]
    fn a_line_has_unquoted_numbers_and_the_amount_in_major_units() {
        let attendee = Attendee {
            booking_id: 7,
            name: "Ada".to_owned(),
            email: "ada@example.org".to_owned(),
            seats: 2,
            amount: 1_234_500,
            currency: "HUF".to_owned(),
            status: BookingStatus::Confirmed,
            created_at: DateTime::UNIX_EPOCH,
        };
        let line = attendee.csv_line();
        assert_eq!(line, "7,\"Ada\",\"ada@example.org\",2,12345.00,\"HUF\",\"1970-01-01T00:00:00Z\",\"Confirmed\"\r\n");
        assert!(CSV_HEADER.starts_with("\u{feff}\"booking_id\",\"name\""));
    }
}
