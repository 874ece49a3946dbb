//! Properties of `apply_batch`, over a database that is but two maps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{Details, event};

/// Applies outcomes as the transaction would, and checks the guards that it relies on.
#[derive(Clone, Debug, PartialEq)]
struct Database {
    event: Option<Event>,
    reservations: BTreeMap<Uuid, Reservation>,
}

impl Database {
    fn with(event: Event) -> Self {
        Self { event: Some(event), reservations: BTreeMap::new() }
    }

    fn apply(&mut self, operations: &[Operation], now: DateTime<Utc>) -> BatchOutcome {
        let read: Vec<_> =
            operations.iter().filter_map(|o| self.reservations.get(&o.reservation_id()?)).cloned().collect();
        let outcome = apply_batch("event", self.event.clone(), read, operations, now);
        match &outcome.event {
            EventChange::Unchanged => {}
            EventChange::Counters(event) | EventChange::Edited(event) => {
                assert!(event.version > self.event.as_ref().unwrap().version);
                self.event = Some(event.clone());
            }
            EventChange::Deleted => self.event = None,
        }
        for reservation in &outcome.inserts {
            assert!(self.reservations.insert(reservation.id, reservation.clone()).is_none(), "inserted twice");
        }
        for id in &outcome.confirms {
            self.move_to(*id, &[ReservationState::Held], ReservationState::Confirmed, now);
        }
        for id in &outcome.releases {
            let from = [ReservationState::Held, ReservationState::Confirmed];
            self.move_to(*id, &from, ReservationState::Released, now);
        }
        outcome
    }

    fn move_to(&mut self, id: Uuid, from: &[ReservationState], to: ReservationState, now: DateTime<Utc>) {
        let reservation = self.reservations.get_mut(&id).unwrap();
        assert!(from.contains(&reservation.state), "{:?} to {to:?}", reservation.state);
        reservation.state = to;
        reservation.updated_at = now;
    }

    fn check(&self) {
        let sum = |state| -> i64 {
            self.reservations.values().filter(|r| r.state == state).map(|r| i64::from(r.seats)).sum()
        };
        let Some(event) = &self.event else {
            assert_eq!(sum(ReservationState::Held) + sum(ReservationState::Confirmed), 0);
            return;
        };
        assert!(event.available >= 0 && event.held >= 0 && event.sold >= 0, "{event:?}");
        assert_eq!(event.available + event.held + event.sold, event.capacity);
        assert_eq!(event.held, sum(ReservationState::Held));
        assert_eq!(event.sold, sum(ReservationState::Confirmed));
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn event(capacity: i64) -> Event {
    let details = Details {
        title: "Concert".to_owned(),
        description: String::new(),
        venue: "Hall".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        starts_at: at(10_000),
        ends_at: at(20_000),
        price: 2_500,
        currency: "EUR".to_owned(),
        category: None,
        image_url: None,
        sales_start_at: None,
        sales_end_at: None,
        max_seats_per_booking: event::DEFAULT_MAX_SEATS_PER_BOOKING,
    };
    Event::create("event".to_owned(), 1, EventStatus::Published, details, capacity, at(0)).unwrap()
}

fn id(n: u8) -> Uuid {
    Uuid::from_u128(u128::from(n) + 1)
}

fn patch() -> impl Strategy<Value = EventPatch> {
    prop_oneof![
        (0..40_i64).prop_map(|capacity| EventPatch { capacity: Some(capacity), ..EventPatch::default() }),
        (0..3_u8).prop_map(|n| EventPatch { title: Some(format!("Title {n}")), ..EventPatch::default() }),
        (0..5_000_i64).prop_map(|price| EventPatch { price: Some(price), ..EventPatch::default() }),
        prop_oneof![Just(EventStatus::Published), Just(EventStatus::Draft), Just(EventStatus::Cancelled)]
            .prop_map(|status| EventPatch { status: Some(status), ..EventPatch::default() }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..12_u8, 1..12_u32, 1..100_u32)
            .prop_map(|(n, seats, hold_seconds)| Operation::Hold { reservation_id: id(n), seats, hold_seconds }),
        3 => (0..12_u8).prop_map(|n| Operation::Confirm { reservation_id: id(n) }),
        3 => (0..12_u8, any::<bool>())
            .prop_map(|(n, only_expired)| Operation::Release { reservation_id: id(n), only_expired }),
        1 => patch().prop_map(|patch| Operation::Edit { patch: Box::new(patch), traceparent: None }),
    ]
}

fn batches() -> impl Strategy<Value = Vec<(Vec<Operation>, i64)>> {
    prop::collection::vec((prop::collection::vec(operation(), 1..20), 0..60_i64), 1..12)
}

proptest! {
    #[test]
    fn counters_add_up_and_equal_the_ledger_after_every_batch(capacity in 1..40_i64, batches in batches()) {
        let (mut database, mut seconds) = (Database::with(event(capacity)), 0);

        for (operations, pause) in batches {
            seconds += pause;
            let outcome = database.apply(&operations, at(seconds));
            prop_assert_eq!(outcome.answers.len(), operations.len());
            database.check();
        }
    }

    #[test]
    fn a_released_reservation_never_comes_back(batches in batches()) {
        let (mut database, mut seconds) = (Database::with(event(30)), 0);

        for (operations, pause) in batches {
            seconds += pause;
            let released = |db: &Database| -> Vec<_> {
                let states = db.reservations.values();
                states.filter(|r| r.state == ReservationState::Released).map(|r| r.id).collect()
            };
            let before = released(&database);
            database.apply(&operations, at(seconds));
            let after = released(&database);
            prop_assert!(before.iter().all(|id| after.contains(id)));
        }
    }

    #[test]
    fn a_batch_is_the_same_as_its_operations_one_by_one(batches in batches()) {
        let mut together = Database::with(event(30));
        let (mut alone, mut seconds) = (together.clone(), 0);

        for (operations, pause) in batches {
            seconds += pause;
            let outcome = together.apply(&operations, at(seconds));
            let answers: Vec<_> =
                operations.iter().flat_map(|o| alone.apply(std::slice::from_ref(o), at(seconds)).answers).collect();
            prop_assert_eq!(outcome.answers, answers);
            prop_assert_eq!(&together, &alone);
        }
    }

    #[test]
    fn an_operation_sent_again_gets_the_same_answer_and_changes_nothing(
        batches in batches(),
        again in operation(),
    ) {
        let (mut database, mut seconds) = (Database::with(event(30)), 0);
        for (operations, pause) in batches {
            seconds += pause;
            database.apply(&operations, at(seconds));
        }

        let first = database.apply(std::slice::from_ref(&again), at(seconds));
        let kept = database.clone();
        let second = database.apply(&[again], at(seconds));

        prop_assert_eq!(first.answers, second.answers);
        prop_assert_eq!(second.event, EventChange::Unchanged);
        prop_assert!(second.messages.is_empty());
        prop_assert_eq!(database, kept);
    }
}

fn hold(n: u8, seats: u32) -> Operation {
    Operation::Hold { reservation_id: id(n), seats, hold_seconds: 60 }
}

fn edit(patch: EventPatch) -> Operation {
    Operation::Edit { patch: Box::new(patch), traceparent: Some("00-trace".to_owned()) }
}

#[test]
fn duplicates_within_a_batch_take_seats_once() {
    let mut database = Database::with(event(5));

    let outcome = database.apply(&[hold(1, 2), hold(1, 2), hold(1, 3)], at(0));

    assert_eq!(outcome.answers[0], outcome.answers[1]);
    assert_eq!(outcome.answers[2], Err(Refusal::ReservationMismatch));
    assert_eq!(outcome.inserts.len(), 1);
    assert_eq!(database.event.unwrap().held, 2);
}

#[test]
fn arrival_order_decides_who_gets_the_last_seats() {
    let mut database = Database::with(event(3));

    let outcome = database.apply(&[hold(1, 2), hold(2, 2), hold(3, 1)], at(0));

    assert!(outcome.answers[0].is_ok());
    assert_eq!(outcome.answers[1], Err(Refusal::SoldOut { left: 1 }));
    assert!(outcome.answers[2].is_ok());
}

#[test]
fn a_hold_that_was_not_swept_yet_can_still_be_confirmed() {
    let mut database = Database::with(event(3));
    database.apply(&[hold(1, 2)], at(0));

    let outcome = database.apply(&[Operation::Confirm { reservation_id: id(1) }], at(100));

    assert!(outcome.answers[0].is_ok());
    assert_eq!(database.event.unwrap().sold, 2);
}

#[test]
fn a_hold_keeps_its_price_when_the_organizer_changes_it() {
    let mut database = Database::with(event(3));
    database.apply(&[hold(1, 1)], at(0));
    let dearer = EventPatch { price: Some(9_900), currency: Some("usd".to_owned()), ..EventPatch::default() };

    let outcome = database.apply(&[edit(dearer), hold(1, 1), hold(2, 1)], at(1));

    let prices = outcome.answers.into_iter().filter_map(|answer| match answer {
        Ok(Answer::Held(hold)) => Some((hold.price, hold.currency)),
        _ => None,
    });
    assert_eq!(prices.collect::<Vec<_>>(), [(2_500, "EUR".to_owned()), (9_900, "USD".to_owned())]);
}

#[test]
fn holders_are_told_of_changes_that_concern_them_and_of_no_others() {
    let mut database = Database::with(event(3));
    let moved = || edit(EventPatch { venue: Some("Park".to_owned()), ..EventPatch::default() });

    let nobody = database.apply(&[moved()], at(0));
    let dearer = edit(EventPatch { price: Some(1), ..EventPatch::default() });
    let venue_again = edit(EventPatch { venue: Some("Hall".to_owned()), ..EventPatch::default() });
    let somebody = database.apply(&[hold(1, 1), dearer, venue_again], at(1));
    let again = database.apply(&[edit(EventPatch { venue: Some("Hall".to_owned()), ..EventPatch::default() })], at(2));

    assert!(nobody.messages.is_empty() && again.messages.is_empty());
    let [told] = &somebody.messages[..] else { panic!("{:?}", somebody.messages) };
    assert_eq!(told.traceparent.as_deref(), Some("00-trace"));
    assert!(matches!(&told.message, Message::EventChanged(fact) if fact.changed == ["venue"] && fact.venue == "Hall"));
}

#[test]
fn a_cancelled_event_keeps_its_holds_but_sells_nothing() {
    let mut database = Database::with(event(3));
    database.apply(&[hold(1, 1)], at(0));

    let cancelled = database.apply(&[Operation::Delete { traceparent: None }], at(1));
    let later = database.apply(&[Operation::Confirm { reservation_id: id(1) }, hold(1, 1), hold(2, 1)], at(2));

    assert!(matches!(cancelled.messages[..], [OutboxMessage { message: Message::EventCancelled(_), .. }]));
    assert_eq!(later.answers[0], Err(Refusal::EventCancelled));
    assert!(later.answers[1].is_ok(), "what was answered before is answered again");
    assert_eq!(later.answers[2], Err(Refusal::EventCancelled));
    database.check();
}

#[test]
fn an_event_that_nobody_bought_goes_away_when_deleted() {
    let mut database = Database::with(event(3));
    let release = Operation::Release { reservation_id: id(1), only_expired: false };

    let outcome = database.apply(&[hold(1, 1), release, Operation::Delete { traceparent: None }, hold(2, 1)], at(0));

    assert_eq!(outcome.answers[2], Ok(Answer::Deleted));
    assert_eq!(outcome.answers[3], Err(Refusal::EventNotFound));
    assert!(outcome.messages.is_empty());
}
