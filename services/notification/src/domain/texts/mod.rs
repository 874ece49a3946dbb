//! The texts of notifications, in every language of the platform.

mod catalogue;

use contracts::{
    identity::Language,
    message::{BookingFact, CancelReason, EventFact},
    text::isolate,
};

use self::catalogue::{Cancelled, Catalogue, Confirmed, Plain, fill};

/// The text of one notification in one language.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Text {
    /// One line.
    pub title: String,
    /// One to three sentences.
    pub body: String,
}

/// The text of one notification in every language: users may change their language after it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Texts {
    /// Also for languages without a translation.
    pub english: Text,
    /// Absent if an older version stored the notification.
    pub german: Option<Text>,
}

impl Texts {
    fn render(render: impl Fn(&Catalogue) -> Text) -> Self {
        Self { english: render(Catalogue::of(Language::En)), german: Some(render(Catalogue::of(Language::De))) }
    }

    pub fn in_language(self, language: Language) -> Text {
        match language {
            Language::En => self.english,
            Language::De => self.german.unwrap_or(self.english),
        }
    }
}

pub(super) fn confirmed(booking: &BookingFact) -> Texts {
    Texts::render(|catalogue| {
        let Confirmed { title, body, paid, free } = &catalogue.notification.confirmed;
        let price = if booking.amount == 0 { free } else { paid };
        about_booking(catalogue, title, &format!("{body} {price}"), booking)
    })
}

pub(super) fn cancelled(booking: &BookingFact) -> Texts {
    Texts::render(|catalogue| {
        let Cancelled { title, body, by_attendee, event_cancelled } = &catalogue.notification.cancelled;
        let body = match booking.reason {
            Some(CancelReason::ByAttendee) => by_attendee,
            Some(CancelReason::EventCancelled) => event_cancelled,
            None => body,
        };
        about_booking(catalogue, title, body, booking)
    })
}

pub(super) fn refunded(booking: &BookingFact) -> Texts {
    Texts::render(|catalogue| {
        let Plain { title, body } = &catalogue.notification.refunded;
        about_booking(catalogue, title, body, booking)
    })
}

pub(super) fn expired(booking: &BookingFact) -> Texts {
    Texts::render(|catalogue| {
        let Plain { title, body } = &catalogue.notification.expired;
        about_booking(catalogue, title, body, booking)
    })
}

pub(super) fn event_changed(event: &EventFact) -> Texts {
    Texts::render(|catalogue| {
        let texts = &catalogue.notification.event_changed;
        let names = catalogue.field_names(&event.changed);
        let changes = if names.is_empty() { &texts.details } else { &texts.changed };
        let moved = if event.is_moved() { format!(" {}", texts.moved) } else { String::new() };
        let body = fill(
            &format!("{changes} {}{moved}", texts.body),
            &[
                ("fields", &names.join(", ")),
                ("venue", &isolate(&event.venue)),
                ("time", &catalogue.time(event.starts_at, &event.time_zone)),
            ],
        );
        Text { title: fill(&texts.title, &[("event", &isolate(&event.title))]), body }
    })
}

pub(super) fn event_cancelled(event: &EventFact) -> Texts {
    Texts::render(|catalogue| {
        let Plain { title, body } = &catalogue.notification.event_cancelled;
        let values: [(&str, &str); 3] = [
            ("event", &isolate(&event.title)),
            ("venue", &isolate(&event.venue)),
            ("time", &catalogue.time(event.starts_at, &event.time_zone)),
        ];
        Text { title: fill(title, &values), body: fill(body, &values) }
    })
}

fn about_booking(catalogue: &Catalogue, title: &str, body: &str, booking: &BookingFact) -> Text {
    let values: [(&str, &str); 4] = [
        ("booking", &booking.booking_id.to_string()),
        ("event", &isolate(&booking.event_title)),
        ("seats", &catalogue.seats(booking.seats)),
        ("amount", &catalogue.money(booking.amount, &booking.currency)),
    ];
    Text { title: title.to_owned(), body: fill(body, &values) }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeZone, Utc};

    use super::*;

    fn booking(seats: u32, amount: i64) -> BookingFact {
        BookingFact {
            booking_id: 17,
            user_id: 3,
            event_id: "e1".to_owned(),
            event_title: "Jazz Night".to_owned(),
            seats,
            amount,
            currency: "EUR".to_owned(),
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
            unannounced: false,
            occurred_at: DateTime::UNIX_EPOCH,
        }
    }

    fn bodies(texts: Texts) -> [String; 2] {
        [texts.clone().in_language(Language::En).body, texts.in_language(Language::De).body]
    }

    #[test]
    fn a_confirmation_says_what_was_paid() {
        assert_eq!(
            bodies(confirmed(&booking(2, 5000))),
            [
                "Your booking 17 (2 seats for “\u{2068}Jazz Night\u{2069}”) is confirmed. You paid €50.",
                "Deine Buchung 17 (2 Plätze für „\u{2068}Jazz Night\u{2069}“) ist bestätigt. Du hast 50\u{a0}€ bezahlt.",
            ]
        );
        assert!(confirmed(&booking(1, 0)).english.body.ends_with("is confirmed. There’s nothing to pay."));
    }

    #[test]
    fn a_cancellation_says_why() {
        let body = |reason| bodies(cancelled(&BookingFact { reason, ..booking(1, 0) }));

        let [event_cancelled, event_cancelled_german] = body(Some(CancelReason::EventCancelled));
        let [by_attendee, _] = body(Some(CancelReason::ByAttendee));
        let [no_reason, _] = body(None);

        assert_eq!(
            event_cancelled,
            "Your booking 17 (1 seat for “\u{2068}Jazz Night\u{2069}”) has been cancelled because the event isn’t taking place."
        );
        assert!(event_cancelled_german.ends_with(
            "(1 Platz für „\u{2068}Jazz Night\u{2069}“) wurde storniert, weil das Event nicht stattfindet."
        ));
        assert!(by_attendee.starts_with("You cancelled your booking 17"));
        assert!(no_reason.ends_with("has been cancelled."));
    }

    #[test]
    fn a_changed_event_is_described_in_the_time_of_its_venue() {
        assert_eq!(
            bodies(event_changed(&event(&["starts_at", "venue"]))),
            [
                "What’s changed: start time, venue. The event now takes place at \u{2068}Blue Hall\u{2069} on Friday, \
                 5 June 2026, 19:30 (Europe/Berlin). Your booking is still valid. If you \
                 can’t come, you can cancel until the event starts and get back what you paid.",
                "Geändert: Beginn, Ort. Das Event findet jetzt hier statt: \u{2068}Blue Hall\u{2069}, Freitag, \
                 5. Juni 2026, 19:30 Uhr (Europe/Berlin). Deine Buchung gilt weiter. Wenn du nicht \
                 kannst, kannst du bis zum Beginn stornieren und bekommst zurück, was du bezahlt hast.",
            ]
        );
        let [english, german] = bodies(event_changed(&event(&["title"])));
        assert!(english.ends_with("still valid.") && german.ends_with("gilt weiter."), "{english} {german}");
    }

    #[test]
    fn an_unknown_zone_falls_back_to_utc() {
        let event = EventFact { time_zone: "Moon/Base".to_owned(), ..event(&[]) };

        assert!(event_cancelled(&event).english.body.contains("17:30 (UTC)"));
    }

    #[test]
    fn no_text_has_an_unfilled_placeholder() {
        let all = [
            confirmed(&booking(2, 5000)),
            cancelled(&booking(2, 5000)),
            refunded(&booking(2, 5000)),
            expired(&booking(2, 5000)),
            event_changed(&event(&["title", "end_of_entry"])),
            event_cancelled(&event(&[])),
        ];

        for text in all.into_iter().flat_map(|Texts { english, german }| [english, german.unwrap()]) {
            let Text { title, body } = text;
            assert!(!title.is_empty() && !body.is_empty());
            for hole in ["  ", "()", " .", " ,", "“”", "„“", "{", "}"] {
                assert!(!title.contains(hole) && !body.contains(hole), "{title}: {body}");
            }
        }
    }

    #[test]
    fn a_notification_of_an_older_version_is_in_english() {
        let texts = Texts { german: None, ..confirmed(&booking(1, 0)) };

        assert_eq!(texts.clone().in_language(Language::De), texts.english);
    }
}
