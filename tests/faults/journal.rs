//! What users were told. The checker compares it with what the databases say.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::checker::Violation;
use crate::workload::HOPELESS;

/// A booking that somebody was told of.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) user_id: i64,
    pub(crate) event_id: String,
    pub(crate) seats: i64,
    /// Whether its owner was told that it is Confirmed and Paid.
    pub(crate) paid: bool,
    /// Whether it costs something.
    pub(crate) priced: bool,
}

/// One request for a booking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) asked_at: Instant,
    pub(crate) answer: Answer,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing yet.
    Awaited,
    /// An answer that is no failure of the platform, after so long.
    Served(Duration),
    /// Such a failure, or no answer.
    Failed,
}

/// The cancellations of bookings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancellations {
    /// Of these somebody asked for it.
    pub(crate) asked: HashSet<i64>,
    /// Of these somebody was told that it has happened.
    pub(crate) acknowledged: HashSet<i64>,
}

/// Somebody who asked for the deletion of their account.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    pub(crate) user_id: i64,
    pub(crate) name: String,
    pub(crate) email: String,
    /// Whether they were told that it is deleted.
    pub(crate) acknowledged: bool,
    /// Whether the address has registered again, so that it may be stored.
    pub(crate) returned: bool,
}

#[derive(Default)]
struct Pages {
    bookings: HashMap<i64, Acknowledged>,
    cancellations: Cancellations,
    departures: HashMap<i64, Departure>,
    /// What was answered under an idempotency key.
    answers: HashMap<String, Value>,
    samples: Vec<Sample>,
    outcomes: BTreeMap<String, u64>,
    violations: Vec<Violation>,
}

/// Everything that users were told. Shared by all of them.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Pages>);

impl Journal {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down a booking that was answered with 201 under a key.
    pub(crate) fn booked(&self, key: &str, answer: &Value) {
        let number = |field: &str| answer[field].as_i64().unwrap_or_default();
        let booking = Acknowledged {
            user_id: number("user_id"),
            event_id: answer["event_id"].as_str().unwrap_or_default().to_owned(),
            seats: number("seats"),
            paid: answer["status"] == "Confirmed",
            priced: number("amount") > 0,
        };
        let mut pages = self.pages();
        pages.bookings.entry(number("id")).or_insert(booking);
        pages.answered(key, answer);
    }

    /// Writes down that a booking's owner was told that it is paid.
    pub(crate) fn paid(&self, booking_id: i64) {
        if let Some(booking) = self.pages().bookings.get_mut(&booking_id) {
            booking.paid = true;
        }
    }

    /// Writes down that somebody is about to cancel a booking.
    pub(crate) fn cancels(&self, booking_id: i64) {
        self.pages().cancellations.asked.insert(booking_id);
    }

    /// Writes down that somebody was told that a booking is cancelled.
    pub(crate) fn cancelled(&self, booking_id: i64) {
        self.pages().cancellations.acknowledged.insert(booking_id);
    }

    pub(crate) fn cancellations(&self) -> Cancellations {
        self.pages().cancellations.clone()
    }

    /// Writes down that somebody is about to delete their account.
    pub(crate) fn leaves(&self, departure: Departure) {
        self.pages().departures.insert(departure.user_id, departure);
    }

    /// Writes down that somebody was told that their account is deleted.
    pub(crate) fn left(&self, user_id: i64) {
        if let Some(departure) = self.pages().departures.get_mut(&user_id) {
            departure.acknowledged = true;
        }
    }

    /// Writes down that the address of somebody who left has registered again.
    pub(crate) fn returned(&self, user_id: i64) {
        if let Some(departure) = self.pages().departures.get_mut(&user_id) {
            departure.returned = true;
        }
    }

    /// Everybody who asked for the deletion of their account, by user id.
    pub(crate) fn departures(&self) -> HashMap<i64, Departure> {
        self.pages().departures.clone()
    }

    /// Writes down any lasting answer under a key: the next one has to be the same.
    pub(crate) fn answered(&self, key: &str, answer: &Value) {
        self.pages().answered(key, answer);
    }

    /// Writes down that somebody asks for a booking now; the number is for [`Journal::ended`].
    pub(crate) fn asks(&self) -> usize {
        let mut pages = self.pages();
        pages.samples.push(Sample { asked_at: Instant::now(), answer: Answer::Awaited });
        pages.samples.len() - 1
    }

    pub(crate) fn ended(&self, asked: usize, served: bool) {
        if let Some(sample) = self.pages().samples.get_mut(asked) {
            sample.answer = if served { Answer::Served(sample.asked_at.elapsed()) } else { Answer::Failed };
        }
    }

    pub(crate) fn count(&self, outcome: impl Into<String>) {
        *self.pages().outcomes.entry(outcome.into()).or_default() += 1;
    }

    /// The answers that said that something of the platform is broken, rather than of the gateway.
    pub(crate) fn broken(&self) -> BTreeMap<String, u64> {
        let mut outcomes = self.outcomes();
        outcomes.retain(|outcome, _| outcome.contains(": 5") && !outcome.starts_with(HOPELESS));
        outcomes
    }

    pub(crate) fn violated(&self, violations: impl IntoIterator<Item = Violation>) {
        self.pages().violations.extend(violations);
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.pages().violations.clone()
    }

    pub(crate) fn bookings(&self) -> HashMap<i64, Acknowledged> {
        self.pages().bookings.clone()
    }

    pub(crate) fn count_bookings(&self) -> usize {
        self.pages().bookings.len()
    }

    pub(crate) fn outcomes(&self) -> BTreeMap<String, u64> {
        self.pages().outcomes.clone()
    }

    /// The requests that were begun within that time.
    pub(crate) fn samples(&self, from: Instant, to: Instant) -> Vec<Sample> {
        let pages = self.pages();
        pages.samples.iter().filter(|sample| (from..to).contains(&sample.asked_at)).copied().collect()
    }
}

impl Pages {
    fn answered(&mut self, key: &str, answer: &Value) {
        match self.answers.get(key) {
            Some(before) if before != answer => {
                let what = format!("key {key} was answered {before} and then {answer}");
                self.violations.push(Violation::new(7, what));
            }
            Some(_) => {}
            None => drop(self.answers.insert(key.to_owned(), answer.clone())),
        }
    }
}
