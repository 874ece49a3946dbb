//! Properties of `apply_batch`, on an in-memory database.

use std::collections::{BTreeMap, HashSet};

use contracts::{message::Message, reservation::ReservationState};
use proptest::prelude::*;

use super::*;
use crate::domain::{
    details::{DEFAULT_MAX_SEATS_PER_BOOKING, Details},
    event::EventStatus,
};

/// Applies outcomes as the transaction would, and checks the guards that it relies on.
#[derive(Clone, Debug, PartialEq)]
struct Database {
    event: Option<Event>,
    reservations: BTreeMap<Uuid, Reservation>,
    pending: Option<PendingNotification>,
}

impl Database {
    fn with(event: Event) -> Self {
        Self { event: Some(event), reservations: BTreeMap::new(), pending: None }
    }

    fn apply(&mut self, operations: &[Operation], now: DateTime<Utc>) -> BatchOutcome {
        let outcome = apply_batch("event", self.read(operations), operations, now);
        match &outcome.event {
            EventChange::Unchanged => {}
            EventChange::Counters(event) | EventChange::Edited(event) => {
                assert!(event.version > self.event.as_ref().unwrap().version);
                self.event = Some(event.clone());
            }
            EventChange::Deleted => self.event = None,
        }
        if let Some(pending) = &outcome.pending {
            self.pending.clone_from(pending);
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

    /// What the transaction would read.
    fn read(&self, operations: &[Operation]) -> Snapshot {
        let users: HashSet<_> = operations.iter().filter_map(Operation::user_id).collect();
        let of_users = |state| {
            let in_state = self.reservations.values().filter(move |it| it.state == state);
            in_state.filter(|it| it.user_id.is_some_and(|user| users.contains(&user))).cloned()
        };
        let named = operations.iter().filter_map(|o| self.reservations.get(&o.reservation_id()?)).cloned();
        let mut sold = HashMap::new();
        for reservation in of_users(ReservationState::Confirmed) {
            *sold.entry(reservation.user_id.unwrap()).or_default() += i64::from(reservation.seats);
        }
        let reservations = named.chain(of_users(ReservationState::Held)).collect();
        let pending = self.pending.clone().filter(|_| operations.iter().any(Operation::needs_pending_notification));
        Snapshot { event: self.event.clone(), reservations, sold, pending }
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
        max_seats_per_booking: DEFAULT_MAX_SEATS_PER_BOOKING,
        max_seats_per_person: None,
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
        Just(EventPatch { price: Some(0), ..EventPatch::default() }),
        prop::option::of(1..20_i64)
            .prop_map(|max| EventPatch { max_seats_per_person: Some(max), ..EventPatch::default() }),
        prop_oneof![Just(EventStatus::Published), Just(EventStatus::Draft), Just(EventStatus::Cancelled)]
            .prop_map(|status| EventPatch { status: Some(status), ..EventPatch::default() }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..12_u8, 1..12_u32, 1..100_u32, prop::option::of(1..3_i32), any::<bool>())
            .prop_map(|(n, seats, hold_seconds, user_id, paid)| {
                let reservation_id = id(n);
                Operation::Hold(DecreaseCapacity { reservation_id, seats, hold_seconds, user_id, paid })
            }),
        3 => (0..12_u8).prop_map(|n| Operation::Confirm { reservation_id: id(n) }),
        3 => (0..12_u8, any::<bool>())
            .prop_map(|(n, only_expired)| Operation::Release { reservation_id: id(n), only_expired }),
        1 => (patch(), 0..100_i64).prop_map(|(patch, quiet)| {
            Operation::Edit { patch: Box::new(patch), quiet_period: TimeDelta::seconds(quiet), traceparent: None }
        }),
        1 => Just(Operation::NotifyHolders),
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
    let reservation_id = id(n);
    Operation::Hold(DecreaseCapacity { reservation_id, seats, hold_seconds: 60, user_id: None, paid: false })
}

fn edit(patch: EventPatch) -> Operation {
    edit_with_quiet_period(patch, 0)
}

/// An edit with a quiet period in seconds.
fn edit_with_quiet_period(patch: EventPatch, quiet: i64) -> Operation {
    let (quiet_period, traceparent) = (TimeDelta::seconds(quiet), Some("00-trace".to_owned()));
    Operation::Edit { patch: Box::new(patch), quiet_period, traceparent }
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
fn an_expired_hold_can_be_confirmed_until_it_is_swept() {
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
    let new_price = EventPatch { price: Some(9_900), currency: Some("usd".to_owned()), ..EventPatch::default() };

    let outcome = database.apply(&[edit(new_price), hold(1, 1), hold(2, 1)], at(1));

    let prices = outcome.answers.into_iter().filter_map(|answer| match answer {
        Ok(Answer::Held(hold)) => Some((hold.price, hold.currency)),
        _ => None,
    });
    assert_eq!(prices.collect::<Vec<_>>(), [(2_500, "EUR".to_owned()), (9_900, "USD".to_owned())]);
}

#[test]
fn holders_are_notified_only_of_changes_that_concern_them() {
    let mut database = Database::with(event(3));
    let moved = || edit(EventPatch { venue: Some("Park".to_owned()), ..EventPatch::default() });

    let without_holder = database.apply(&[moved()], at(0));
    let new_price = edit(EventPatch { price: Some(1), ..EventPatch::default() });
    let venue_again = edit(EventPatch { venue: Some("Hall".to_owned()), ..EventPatch::default() });
    let with_holder = database.apply(&[hold(1, 1), new_price, venue_again], at(1));
    let again = database.apply(&[edit(EventPatch { venue: Some("Hall".to_owned()), ..EventPatch::default() })], at(2));

    assert!(without_holder.messages.is_empty() && again.messages.is_empty());
    let [message] = &with_holder.messages[..] else { panic!("{:?}", with_holder.messages) };
    assert_eq!(message.traceparent.as_deref(), Some("00-trace"));
    assert!(
        matches!(&message.message, Message::EventChanged(fact) if fact.changed == ["venue"] && fact.venue == "Hall")
    );
}

#[test]
fn a_cancelled_event_keeps_its_holds_but_sells_nothing() {
    let mut database = Database::with(event(3));
    database.apply(&[hold(1, 1)], at(0));

    let cancelled = database.apply(&[Operation::Delete { traceparent: None }], at(1));
    let later = database.apply(&[Operation::Confirm { reservation_id: id(1) }, hold(1, 1), hold(2, 1)], at(2));

    assert!(matches!(cancelled.messages[..], [OutboxMessage { message: Message::EventCancelled(_), .. }]));
    assert_eq!(later.answers[0], Err(Refusal::EventCancelled));
    assert!(later.answers[1].is_ok(), "a repeated request gets the same answer");
    assert_eq!(later.answers[2], Err(Refusal::EventCancelled));
    database.check();
}

#[test]
fn an_event_without_bookings_is_deleted() {
    let mut database = Database::with(event(3));
    let release = Operation::Release { reservation_id: id(1), only_expired: false };

    let outcome = database.apply(&[hold(1, 1), release, Operation::Delete { traceparent: None }, hold(2, 1)], at(0));

    assert_eq!(outcome.answers[2], Ok(Answer::Deleted));
    assert_eq!(outcome.answers[3], Err(Refusal::EventNotFound));
    assert!(outcome.messages.is_empty());
}

fn hold_of(user_id: i32, n: u8, seats: u32) -> Operation {
    let reservation_id = id(n);
    Operation::Hold(DecreaseCapacity { reservation_id, seats, hold_seconds: 60, user_id: Some(user_id), paid: false })
}

fn paid_hold_of(user_id: i32, n: u8, seats: u32) -> Operation {
    let reservation_id = id(n);
    Operation::Hold(DecreaseCapacity { reservation_id, seats, hold_seconds: 60, user_id: Some(user_id), paid: true })
}

fn confirm(n: u8) -> Operation {
    Operation::Confirm { reservation_id: id(n) }
}

fn release(n: u8) -> Operation {
    Operation::Release { reservation_id: id(n), only_expired: false }
}

fn max_per_user(max: Option<i64>) -> EventPatch {
    EventPatch { max_seats_per_person: Some(max), ..EventPatch::default() }
}

fn free() -> EventPatch {
    EventPatch { price: Some(0), ..EventPatch::default() }
}

#[test]
fn one_user_holds_no_more_seats_than_one_booking_may_have() {
    let mut database = Database::with(event(100));

    let outcome = database.apply(&[hold_of(1, 1, 6), hold_of(1, 2, 5), hold_of(1, 3, 4), hold_of(2, 4, 10)], at(0));
    let later = database.apply(&[hold_of(1, 5, 1)], at(20));

    let refused = |seconds| Err(Refusal::HeldSeatsLimit { max: 10, retry_after_seconds: seconds });
    assert_eq!(outcome.answers[1], refused(60));
    assert!([0, 2, 3].into_iter().all(|n| outcome.answers[n].is_ok()), "{:?}", outcome.answers);
    assert_eq!(later.answers[0], refused(40));
    assert_eq!(database.event.unwrap().held, 20);
}

#[test]
fn confirmed_and_released_seats_no_longer_count_as_held() {
    let mut database = Database::with(event(100));
    database.apply(&[hold_of(1, 1, 10)], at(0));

    let outcome = database.apply(
        &[confirm(1), hold_of(1, 2, 10), hold_of(1, 3, 1), release(2), hold_of(1, 4, 10), release(1), hold_of(1, 5, 1)],
        at(1),
    );

    let held: Vec<_> = outcome.answers.iter().map(Result::is_ok).collect();
    assert_eq!(held, [true, true, false, true, true, true, false]);
}

#[test]
fn a_user_may_hold_again_as_soon_as_the_hold_expires() {
    let mut database = Database::with(event(10));
    database.apply(&[hold_of(1, 1, 10)], at(0));

    let early = database.apply(&[hold_of(1, 2, 10)], at(59));
    let in_time = database.apply(&[hold_of(1, 3, 10)], at(60));

    assert_eq!(early.answers[0], Err(Refusal::HeldSeatsLimit { max: 10, retry_after_seconds: 1 }));
    assert!(in_time.answers[0].is_ok(), "{:?}", in_time.answers);
    assert_eq!(in_time.releases, [id(1)]);
    database.check();
}

#[test]
fn held_and_sold_free_seats_of_one_user_are_limited_together() {
    let mut database = Database::with(event(100));
    database.apply(&[edit(free())], at(0));

    let outcome = database.apply(&[hold_of(1, 1, 6), confirm(1), hold_of(1, 2, 4), hold_of(1, 3, 1)], at(0));
    let again = database.apply(&[confirm(2), hold_of(1, 4, 1), release(1), hold_of(1, 5, 6)], at(1));

    assert_eq!(outcome.answers[3], Err(Refusal::PersonLimitReached { max: 10 }));
    assert_eq!(again.answers[1], Err(Refusal::PersonLimitReached { max: 10 }));
    assert!(again.answers[3].is_ok(), "released seats can be held again");
}

#[test]
fn the_organizer_sets_how_many_seats_a_user_may_have() {
    let mut database = Database::with(event(100));
    database.apply(&[edit(max_per_user(Some(5))), hold_of(1, 1, 2), confirm(1)], at(0));

    let outcome = database.apply(&[hold_of(1, 2, 4), hold_of(1, 3, 3), hold_of(1, 4, 1)], at(1));
    let lifted = database.apply(&[edit(max_per_user(None)), hold_of(1, 5, 7)], at(2));
    let mut free_event = Database::with(event(100));
    let generous = free_event.apply(
        &[edit(free()), edit(max_per_user(Some(12))), hold_of(1, 1, 8), hold_of(1, 2, 4), hold_of(1, 3, 1)],
        at(0),
    );

    let refused = Err(Refusal::PersonLimitReached { max: 5 });
    assert_eq!((&outcome.answers[0], &outcome.answers[2]), (&refused, &refused));
    assert!(outcome.answers[1].is_ok() && lifted.answers[1].is_ok());
    assert_eq!(generous.answers[4], Err(Refusal::PersonLimitReached { max: 12 }));
    assert_eq!(free_event.event.unwrap().held, 12);
}

#[test]
fn a_paid_booking_counts_only_towards_the_total_limit_of_its_owner() {
    let mut database = Database::with(event(100));
    database.apply(&[hold_of(1, 1, 10)], at(0));

    let paid = database.apply(&[paid_hold_of(1, 2, 10)], at(1));
    let limited = database.apply(&[edit(max_per_user(Some(20))), paid_hold_of(1, 3, 1)], at(2));

    assert!(paid.answers[0].is_ok(), "{:?}", paid.answers);
    assert_eq!(limited.answers[1], Err(Refusal::PersonLimitReached { max: 20 }));
}

#[test]
fn seats_without_a_user_count_towards_no_limit() {
    let mut database = Database::with(event(100));

    let outcome = database.apply(&[hold(1, 10), hold(2, 10), hold_of(1, 3, 10)], at(0));

    assert!(outcome.answers.iter().all(Result::is_ok), "{:?}", outcome.answers);
}

proptest! {
    #[test]
    fn a_user_never_has_more_seats_than_the_limits_allow(
        price in prop_oneof![Just(0_i64), Just(100)],
        max_total in prop::option::of(1..15_i64),
        batches in batches(),
    ) {
        let mut database = Database::with(event(1_000));
        let patch = EventPatch { price: Some(price), ..max_per_user(max_total) };
        database.apply(&[edit(patch)], at(0));
        let mut seconds = 0;

        for (operations, pause) in batches {
            seconds += pause;
            let unpaid = operations.into_iter().filter_map(|operation| match operation {
                Operation::Edit { .. } => None,
                Operation::Hold(request) => Some(Operation::Hold(DecreaseCapacity { paid: false, ..request })),
                other => Some(other),
            });
            database.apply(&unpaid.collect::<Vec<_>>(), at(seconds));
            for user_id in 1..3 {
                let seats = |state| -> i64 {
                    let of_user = database.reservations.values().filter(|it| it.user_id == Some(user_id));
                    of_user.filter(|it| it.state == state).map(|it| i64::from(it.seats)).sum()
                };
                let (held, sold) = (seats(ReservationState::Held), seats(ReservationState::Confirmed));
                prop_assert!(price == 0 || held <= 10);
                let limit = max_total.unwrap_or(if price == 0 { 10 } else { i64::MAX });
                prop_assert!(held + sold <= limit);
            }
        }
    }
}

fn to_venue(venue: &str, quiet: i64) -> Operation {
    edit_with_quiet_period(EventPatch { venue: Some(venue.to_owned()), ..EventPatch::default() }, quiet)
}

fn to_title(title: &str, quiet: i64) -> Operation {
    edit_with_quiet_period(EventPatch { title: Some(title.to_owned()), ..EventPatch::default() }, quiet)
}

/// The messages about changes: the changed fields, and whether holders are notified later.
fn changes(outcome: &BatchOutcome) -> Vec<(Vec<String>, bool)> {
    let change = |row: &OutboxMessage| match &row.message {
        Message::EventChanged(fact) => Some((fact.changed.clone(), fact.unannounced)),
        _ => None,
    };
    outcome.messages.iter().filter_map(change).collect()
}

fn fields(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn changes_are_sent_at_once_and_holders_are_notified_together_after_a_quiet_period() {
    let mut database = Database::with(event(3));
    database.apply(&[hold(1, 1)], at(0));

    let first = database.apply(&[to_venue("Park", 60)], at(10));
    let second = database.apply(&[to_title("Opera", 60)], at(60));
    let early = database.apply(&[Operation::NotifyHolders], at(119));
    let edited = database.event.as_ref().unwrap().version;
    database.apply(&[hold(2, 1)], at(119));
    let due = database.apply(&[Operation::NotifyHolders], at(120));
    let again = database.apply(&[Operation::NotifyHolders], at(300));

    assert_eq!(changes(&first), [(fields(&["venue"]), true)]);
    assert_eq!(changes(&second), [(fields(&["title", "venue"]), true)]);
    assert!(early.messages.is_empty() && early.pending.is_none(), "the quiet period is not over");
    assert_eq!(changes(&due), [(fields(&["title", "venue"]), false)]);
    let Message::EventChanged(fact) = &due.messages[0].message else { panic!("{:?}", due.messages) };
    assert_eq!((fact.known_since_version(), fact.version), (edited, database.event.as_ref().unwrap().version));
    assert_eq!(due.messages[0].traceparent.as_deref(), Some("00-trace"));
    assert!(again.messages.is_empty() && database.pending.is_none());
}

#[test]
fn a_notification_waits_for_ten_quiet_periods_at_most() {
    let mut database = Database::with(event(3));
    database.apply(&[hold(1, 1)], at(0));

    for n in 0..20 {
        database.apply(&[to_title(&format!("Title {n}"), 60)], at(n * 30));
    }

    assert_eq!(database.pending.as_ref().unwrap().due_at, at(600));
    assert_eq!(changes(&database.apply(&[Operation::NotifyHolders], at(600))), [(fields(&["title"]), false)]);
}

#[test]
fn holders_are_not_notified_of_a_change_that_was_reverted_in_time() {
    let mut database = Database::with(event(3));
    database.apply(&[hold(1, 1)], at(0));

    database.apply(&[to_venue("Park", 60)], at(0));
    let back = database.apply(&[to_venue("Hall", 60)], at(10));
    let due = database.apply(&[Operation::NotifyHolders], at(1000));

    assert_eq!(changes(&back), [(Vec::new(), true)], "booking-service applies the reverted change too");
    assert!(due.messages.is_empty() && database.pending.is_none());
}

#[test]
fn holders_are_notified_of_a_cancellation_at_once_and_of_nothing_later() {
    let mut database = Database::with(event(3));
    database.apply(&[hold(1, 1), to_venue("Park", 60)], at(0));

    let cancelled = database.apply(&[Operation::Delete { traceparent: None }], at(1));
    let due = database.apply(&[Operation::NotifyHolders], at(1000));

    assert!(matches!(cancelled.messages[..], [OutboxMessage { message: Message::EventCancelled(_), .. }]));
    assert!(due.messages.is_empty() && database.pending.is_none());
}

#[test]
fn holders_are_notified_at_once_of_a_change_shortly_before_the_old_or_new_start() {
    let mut database = Database::with(event(3));
    database.apply(&[hold(1, 1)], at(0));
    let start = |at| EventPatch { starts_at: Some(at), ..EventPatch::default() };

    let far = database.apply(&[to_venue("Park", 60)], at(9_000));
    let near = database.apply(&[to_title("Opera", 60)], at(9_950));
    let nearer = database.apply(&[edit_with_quiet_period(start(at(15_000)), 60)], at(9_960));

    assert_eq!(changes(&far), [(fields(&["venue"]), true)]);
    assert_eq!(changes(&near), [(fields(&["title", "venue"]), false)]);
    assert_eq!(changes(&nearer), [(fields(&["starts_at"]), false)]);
    assert!(database.pending.is_none());
}
