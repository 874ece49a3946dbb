//! Explores the saga's table exhaustively: two workers on one booking, a crash after every effect, every answer of
//! event-service and the gateway (done, refused, lost before or after its effect, late), expiry, cancellation and payment
//! in any order. Invariants 1 to 8 of docs/reliability.md hold in every state, and from every state a sweeper finishes.
//!
//! [`Mutant`] lists the guards whose absence is found here. The others of the fault suite concern what this model leaves
//! out: the counters of an event (`event.available`, `event.hold_once`), messages (`*.outbox`, `bus.*`, `notification.*`),
//! who may see what (`*.owner`), keys (`idempotency.*`), personal data (`user.*`), and tickets, which triggers make and void
//! with the booking's status (`booking.check_in_once`).

mod world;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

use self::world::{Action, World};

/// The guard that is taken away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mutant {
    None,
    /// A commit does not look whether the booking is as it was read.
    CompareAndSet,
    /// An open charge counts as cancelled without asking the gateway.
    Fence,
    /// A charge is confirmed before its id is stored.
    NameBeforeCharge,
    /// A second attempt starts while one is undecided.
    OneLivePayment,
    /// A booking is confirmed without confirming its seats.
    SeatsBeforeConfirmed,
    /// A hold that may be over is released whatever its state.
    OnlyExpired,
    /// A released reservation is confirmed nevertheless.
    ReleasedStaysReleased,
}

#[derive(Clone)]
struct Saga {
    free: bool,
    mutant: Mutant,
    /// Answers that get lost or come late, crashes, and attempts to pay, at most.
    budget: [u8; 3],
}

impl Model for Saga {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.free, self.budget)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.actions(self.mutant));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.act(action, self.mutant);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a Confirmed booking has its seats and is paid", |_: &Self, world: &World| {
                world.confirmed_is_sold()
            }),
            Property::always("no booking is charged twice", |_: &Self, world: &World| world.net_charges() <= 1),
            Property::always("a failed attempt never charges", |_: &Self, world: &World| world.failed_never_charged()),
            Property::always("a sweeper finishes it", |model: &Self, world: &World| {
                world.is_finished_by_a_sweeper(model.mutant)
            }),
        ]
    }
}

fn explore(free: bool, mutant: Mutant, budget: [u8; 3]) -> Vec<&'static str> {
    let begun = Instant::now();
    let checker = Saga { free, mutant, budget }
        .checker()
        .threads(2)
        .finish_when(if mutant == Mutant::None { HasDiscoveries::All } else { HasDiscoveries::Any })
        .spawn_bfs()
        .join();
    println!("{mutant:?}, free {free}: {} states in {:?}", checker.unique_state_count(), begun.elapsed());
    let found = checker.discoveries();
    if mutant == Mutant::None {
        for (property, path) in &found {
            println!("{property}:\n{path}");
        }
    }
    found.into_keys().collect()
}

#[test]
fn every_order_of_events_keeps_the_promises() {
    assert_eq!(explore(false, Mutant::None, [2, 1, 2]), Vec::<&str>::new());
    assert_eq!(explore(true, Mutant::None, [3, 3, 0]), Vec::<&str>::new());
}

#[test]
fn every_guard_that_is_taken_away_is_missed() {
    for mutant in [
        Mutant::CompareAndSet,
        Mutant::Fence,
        Mutant::NameBeforeCharge,
        Mutant::OneLivePayment,
        Mutant::SeatsBeforeConfirmed,
        Mutant::OnlyExpired,
        Mutant::ReleasedStaysReleased,
    ] {
        let found = explore(false, mutant, [1, 1, 2]);
        assert!(!found.is_empty(), "{mutant:?} breaks nothing");
    }
}
