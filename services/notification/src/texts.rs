//! What notifications say: every title and body, in plain English.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use contracts::{
    message::{BookingFact, CancelReason, EventFact},
    money::decimal,
    text::isolated,
};

/// The words of one notification.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Text {
    /// One line.
    pub title: String,
    /// A sentence or three.
    pub body: String,
}

/// The seats are theirs.
pub fn confirmed(fact: &BookingFact) -> Text {
    let price = match fact.amount {
        0 => "There is nothing to pay.".to_owned(),
        amount => format!("You paid {}.", money(amount, &fact.currency)),
    };
    Text {
        title: "Booking confirmed".to_owned(),
        body: format!(
            "Your booking {} ({} for “{}”) is confirmed. {price}",
            fact.booking_id,
            seats(fact.seats),
            isolated(&fact.event_title)
        ),
    }
}

/// The booking ended by its owner's or the organizer's doing.
pub fn cancelled(fact: &BookingFact) -> Text {
    let why = match fact.reason {
        Some(CancelReason::ByAttendee) => " as you asked",
        Some(CancelReason::EventCancelled) => " because the event does not take place",
        None => "",
    };
    Text {
        title: "Booking cancelled".to_owned(),
        body: format!(
            "Your booking {} ({} for “{}”) was cancelled{why}.",
            fact.booking_id,
            seats(fact.seats),
            isolated(&fact.event_title)
        ),
    }
}

/// The money went back.
pub fn refunded(fact: &BookingFact) -> Text {
    Text {
        title: "Payment refunded".to_owned(),
        body: format!(
            "{} for your booking {} for “{}” went back to the payment method you used.",
            money(fact.amount, &fact.currency),
            fact.booking_id,
            isolated(&fact.event_title)
        ),
    }
}

/// The hold ran out unpaid.
pub fn expired(fact: &BookingFact) -> Text {
    Text {
        title: "Booking expired".to_owned(),
        body: format!(
            "Your booking {} ({} for “{}”) was not paid in time, so the seats went back on sale. Book again if you still want to go.",
            fact.booking_id,
            seats(fact.seats),
            isolated(&fact.event_title)
        ),
    }
}

/// What attendees were told is no longer so.
pub fn event_changed(event: &EventFact) -> Text {
    let what = match changed_words(&event.changed).as_slice() {
        [] => "Its details changed".to_owned(),
        words => format!("Changed: {}", words.join(", ")),
    };
    Text {
        title: format!("“{}” has changed", isolated(&event.title)),
        body: format!(
            "{what}. It now takes place at {}, {}. Your booking stays valid.",
            isolated(&event.venue),
            local_time(event.starts_at, &event.time_zone)
        ),
    }
}

/// The event does not take place.
pub fn event_cancelled(event: &EventFact) -> Text {
    Text {
        title: format!("“{}” is cancelled", isolated(&event.title)),
        body: format!(
            "The organizer cancelled “{}”, planned for {} at {}. Your booking ends with it, and whatever you paid is refunded.",
            isolated(&event.title),
            local_time(event.starts_at, &event.time_zone),
            isolated(&event.venue)
        ),
    }
}

fn seats(count: u32) -> String {
    if count == 1 { "1 seat".to_owned() } else { format!("{count} seats") }
}

/// The fields that mean something to an attendee, in their words.
fn changed_words(fields: &[String]) -> Vec<&str> {
    let mut words = Vec::new();
    for field in fields {
        let word = match field.as_str() {
            "starts_at" => "start",
            "ends_at" => "end",
            "time_zone" => "time zone",
            "image_url" => "picture",
            "max_seats_per_booking" => "seats per booking",
            "sales_start_at" | "sales_end_at" => "sales period",
            other => other,
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// An instant as people at the venue see it, such as `Friday, 5 June 2026, 19:30 (Europe/Berlin)`.
fn local_time(instant: DateTime<Utc>, time_zone: &str) -> String {
    const SHAPE: &str = "%A, %-d %B %Y, %H:%M";
    match time_zone.parse::<Tz>() {
        Ok(zone) => format!("{} ({time_zone})", instant.with_timezone(&zone).format(SHAPE)),
        Err(_) => format!("{} (UTC)", instant.format(SHAPE)),
    }
}

/// An amount of minor units for people, such as `12.50 EUR`.
fn money(amount: i64, currency: &str) -> String {
    format!("{} {currency}", decimal(amount, currency))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn booking(seats: u32, amount: i64, currency: &str) -> BookingFact {
        BookingFact {
            booking_id: 17,
            user_id: 3,
            event_id: "e1".to_owned(),
            event_title: "Jazz Night".to_owned(),
            seats,
            amount,
            currency: currency.to_owned(),
            reason: None,
            occurred_at: DateTime::UNIX_EPOCH,
        }
    }

    fn event(changed: &[&str]) -> EventFact {
        EventFact {
            event_id: "e1".to_owned(),
            title: "Jazz Night".to_owned(),
            venue: "Blue Hall".to_owned(),
            starts_at: Utc.with_ymd_and_hms(2026, 6, 5, 17, 30, 0).unwrap(),
            ends_at: Utc.with_ymd_and_hms(2026, 6, 5, 20, 0, 0).unwrap(),
            time_zone: "Europe/Berlin".to_owned(),
            changed: changed.iter().map(ToString::to_string).collect(),
            version: 2,
            edited_version: None,
            untold: false,
            occurred_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_confirmation_says_what_was_paid() {
        assert_eq!(
            confirmed(&booking(2, 5000, "EUR")).body,
            "Your booking 17 (2 seats for “\u{2068}Jazz Night\u{2069}”) is confirmed. You paid 50.00 EUR."
        );
        assert!(confirmed(&booking(1, 0, "EUR")).body.ends_with("is confirmed. There is nothing to pay."));
    }

    #[test]
    fn a_cancellation_says_whose_doing_it_was() {
        let by_organizer = BookingFact { reason: Some(CancelReason::EventCancelled), ..booking(1, 0, "EUR") };

        assert_eq!(
            cancelled(&by_organizer).body,
            "Your booking 17 (1 seat for “\u{2068}Jazz Night\u{2069}”) was cancelled because the event does not take place."
        );
        assert!(cancelled(&booking(1, 0, "EUR")).body.ends_with("was cancelled."));
    }

    #[test]
    fn a_changed_event_is_told_in_the_time_of_its_venue() {
        assert_eq!(
            event_changed(&event(&["starts_at", "venue"])).body,
            "Changed: start, venue. It now takes place at \u{2068}Blue Hall\u{2069}, Friday, 5 June 2026, 19:30 (Europe/Berlin). \
             Your booking stays valid."
        );
    }

    #[test]
    fn what_people_wrote_is_isolated_from_the_sentence_around_it() {
        let hebrew = EventFact { title: "קונצרט".to_owned(), venue: "תל אביב".to_owned(), ..event(&[]) };

        let Text { title, body } = event_cancelled(&hebrew);

        assert_eq!(title, "“\u{2068}קונצרט\u{2069}” is cancelled");
        assert!(body.contains("“\u{2068}קונצרט\u{2069}”") && body.contains("at \u{2068}תל אביב\u{2069}."), "{body}");
    }

    #[test]
    fn an_unknown_zone_falls_back_to_utc() {
        let odd = EventFact { time_zone: "Moon/Base".to_owned(), ..event(&[]) };

        assert!(event_cancelled(&odd).body.contains("17:30 (UTC)"));
    }
}
