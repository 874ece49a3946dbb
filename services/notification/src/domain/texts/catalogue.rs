//! The text catalogues, one per language, shared with the frontend: `frontend/src/texts/`. This service reads their
//! section `server`, which browsers do not get.

use std::{collections::HashMap, sync::LazyLock};

use chrono::{DateTime, Datelike, TimeZone, Utc};
use chrono_tz::Tz;
use contracts::{identity::Language, money::decimal};
use serde::Deserialize;

/// The texts in one language, and how that language writes numbers and dates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalogue {
    /// Monday to Sunday, separated by commas.
    weekdays: String,
    /// January to December, separated by commas.
    months: String,
    time: String,
    thousands: String,
    decimals: String,
    /// An amount in a currency with a symbol.
    money: String,
    /// An amount in any other currency.
    money_code: String,
    seats: Plural,
    pub(super) notification: Notifications,
    /// The names of the fields whose changes holders are notified of (`NotifiedDetails` of event-service).
    fields: HashMap<String, String>,
}

/// A text with a singular and a plural.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plural {
    one: String,
    other: String,
}

/// The texts of each type of notification.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notifications {
    pub(super) confirmed: Confirmed,
    pub(super) cancelled: Cancelled,
    pub(super) refunded: Plain,
    pub(super) expired: Plain,
    pub(super) event_changed: EventChanged,
    pub(super) event_cancelled: Plain,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmed {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) paid: String,
    pub(super) free: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "reasons are named as in `CancelReason`")]
pub(super) struct Cancelled {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) by_attendee: String,
    pub(super) event_cancelled: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventChanged {
    pub(super) title: String,
    pub(super) changed: String,
    pub(super) details: String,
    pub(super) body: String,
    pub(super) moved: String,
}

/// Texts without variants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plain {
    pub(super) title: String,
    pub(super) body: String,
}

static ENGLISH: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("../../../../../frontend/src/texts/en.json")));
static GERMAN: LazyLock<Catalogue> = LazyLock::new(|| read(include_str!("../../../../../frontend/src/texts/de.json")));

fn read(file: &str) -> Catalogue {
    #[derive(Deserialize)]
    struct File {
        server: Catalogue,
    }
    serde_json::from_str::<File>(file).expect("the tests read every catalogue").server
}

impl Catalogue {
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::En => &ENGLISH,
            Language::De => &GERMAN,
        }
    }

    /// Such as `2 seats`. English and German share a rule (CLDR): 1 is singular, everything else is plural.
    pub(super) fn seats(&self, count: u32) -> String {
        let text = if count == 1 { &self.seats.one } else { &self.seats.other };
        fill(text, &[("n", &count.to_string())])
    }

    /// An amount in minor units, formatted as on the site: whole amounts have no decimals.
    pub(super) fn money(&self, amount: i64, currency: &str) -> String {
        let number = self.number(&decimal(amount, currency));
        match symbol(currency) {
            Some(symbol) => fill(&self.money, &[("symbol", symbol), ("number", &number)]),
            None => fill(&self.money_code, &[("code", currency), ("number", &number)]),
        }
    }

    /// Formats a decimal number such as `1234.50`.
    fn number(&self, decimal: &str) -> String {
        let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
        let mut number = String::new();
        for (place, digit) in whole.char_indices() {
            let left = whole.len() - place;
            if place > 0 && left.is_multiple_of(3) {
                number.push_str(&self.thousands);
            }
            number.push(digit);
        }
        if fraction.bytes().any(|digit| digit != b'0') {
            number = number + &self.decimals + fraction;
        }
        number
    }

    /// An instant in local time, such as `Friday, 5 June 2026, 19:30 (Europe/Berlin)`.
    pub(super) fn time(&self, instant: DateTime<Utc>, time_zone: &str) -> String {
        match time_zone.parse::<Tz>() {
            Ok(zone) => self.local_time(&instant.with_timezone(&zone), time_zone),
            Err(_) => self.local_time(&instant, "UTC"),
        }
    }

    fn local_time<Z: TimeZone<Offset: std::fmt::Display>>(&self, time: &DateTime<Z>, zone: &str) -> String {
        let name = |names: &str, place: u32| names.split(',').nth(place as usize).unwrap_or_default().to_owned();
        let values = [
            ("weekday", name(&self.weekdays, time.weekday().num_days_from_monday())),
            ("day", time.day().to_string()),
            ("month", name(&self.months, time.month0())),
            ("year", time.year().to_string()),
            ("clock", time.format("%H:%M").to_string()),
            ("zone", zone.to_owned()),
        ];
        fill(&self.time, &values.each_ref().map(|(name, value)| (*name, value.as_str())))
    }

    /// The display names of an event's fields; a field of a newer event-service keeps its name.
    pub(super) fn field_names<'a>(&'a self, fields: &'a [String]) -> Vec<&'a str> {
        fields.iter().map(|field| self.fields.get(field).unwrap_or(field).as_str()).collect()
    }
}

/// The symbol of a currency, if readers of every language know it.
fn symbol(currency: &str) -> Option<&'static str> {
    match currency {
        "EUR" => Some("€"),
        "GBP" => Some("£"),
        "JPY" => Some("¥"),
        "USD" => Some("$"),
        _ => None,
    }
}

/// Replaces each `{name}` in `template` by its value. Values may contain braces: they are not replaced again.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(before);
        text.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = tail;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_formats_amounts_differently() {
        let (english, german) = (Catalogue::of(Language::En), Catalogue::of(Language::De));

        for (amount, currency, in_english, in_german) in [
            (1250, "EUR", "€12.50", "12,50\u{a0}€"),
            (5000, "EUR", "€50", "50\u{a0}€"),
            (123_456_789, "GBP", "£1,234,567.89", "1.234.567,89\u{a0}£"),
            (900, "JPY", "¥900", "900\u{a0}¥"),
            // Browsers use no decimals here; the platform uses those of ISO 4217.
            (1_234_500, "HUF", "HUF\u{a0}12,345", "12.345\u{a0}HUF"),
            (1_234_550, "HUF", "HUF\u{a0}12,345.50", "12.345,50\u{a0}HUF"),
            (1_234_500, "IQD", "IQD\u{a0}1,234.500", "1.234,500\u{a0}IQD"),
            (100_050, "NOK", "NOK\u{a0}1,000.50", "1.000,50\u{a0}NOK"),
        ] {
            assert_eq!(english.money(amount, currency), in_english);
            assert_eq!(german.money(amount, currency), in_german);
        }
    }

    #[test]
    fn placeholders_in_values_are_not_replaced() {
        assert_eq!(fill("{a} and {b}{c}", &[("a", "{b}"), ("b", "2")]), "{b} and 2");
    }

    #[test]
    fn every_language_has_names_for_all_days_and_months() {
        for language in [Language::En, Language::De] {
            let Catalogue { weekdays, months, .. } = Catalogue::of(language);

            assert_eq!((weekdays.split(',').count(), months.split(',').count()), (7, 12));
        }
    }
}
