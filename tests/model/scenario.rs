//! Sequences of commands, made at random.

use proptest::prelude::*;

use crate::machine::{Card, Command, Event};

/// How many people book.
pub(crate) const PEOPLE: usize = 2;

/// Events, and what happens to them.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) events: Vec<Event>,
    pub(crate) commands: Vec<Command>,
}

/// A priced event and a free one, both small, and up to `most` commands.
pub(crate) fn scenarios(most: usize) -> impl Strategy<Value = Scenario> {
    let event = |price| {
        (2..9_u32, 2..6_u32, prop::option::of(2..6_u32)).prop_map(
            move |(capacity, most_per_booking, most_per_person)| Event {
                capacity,
                price,
                most_per_booking,
                most_per_person,
                cancelled: false,
            },
        )
    };
    let turn = prop_oneof![3 => command().prop_map(|command| vec![command]), 1 => late_payment()];
    let turns = prop::collection::vec(turn, most / 2..=most);
    (event(1500), event(0), turns).prop_map(move |(priced, free, turns)| {
        let mut commands: Vec<Command> = turns.into_iter().flatten().collect();
        commands.truncate(most);
        Scenario { events: vec![priced, free], commands }
    })
}

/// One command alone.
fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        8 => book(),
        8 => (number(), card()).prop_map(|(booking, card)| Command::Pay { booking, card }),
        3 => number().prop_map(|booking| Command::Cancel { booking }),
        2 => number().prop_map(|request| Command::Repeat { request }),
        2 => Just(Command::HoldsEnd),
        3 => number().prop_map(|booking| Command::Settle { booking }),
        1 => (0..2_usize).prop_map(|event| Command::CallOff { event }),
        4 => (number(), 0..3_usize).prop_map(|(booking, seat)| Command::CheckIn { booking, seat }),
        1 => (number(), 0..3_usize).prop_map(|(booking, seat)| Command::UndoCheckIn { booking, seat }),
    ]
}

fn book() -> impl Strategy<Value = Command> {
    // Mostly of the event that costs something.
    (0..PEOPLE, prop_oneof![4 => Just(0_usize), 1 => Just(1)], 1..4_u32)
        .prop_map(|(person, event, seats)| Command::Book { person, event, seats })
}

/// A payment that takes its time, and what comes in between: single commands hardly ever meet like that.
fn late_payment() -> impl Strategy<Value = Vec<Command>> {
    let (late, settle) = (Command::Pay { booking: 0, card: Card::Late }, Command::Settle { booking: 0 });
    let rival = (2..7_u32).prop_map(|seats| Command::Book { person: 1, event: 0, seats });
    let between = prop_oneof![
        3 => Just(vec![Command::HoldsEnd]),
        2 => rival.prop_map(|rival| vec![Command::HoldsEnd, rival, Command::Settle { booking: 1 }]),
        1 => Just(vec![Command::CallOff { event: 0 }]),
        1 => Just(vec![Command::HoldsEnd, Command::CallOff { event: 0 }]),
        1 => Just(Vec::new()),
    ];
    (1..4_u32, between).prop_map(move |(seats, between)| {
        let begin = [Command::Book { person: 0, event: 0, seats }, late.clone()];
        begin.into_iter().chain(between).chain([settle.clone()]).collect()
    })
}

fn number() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0_usize), 2 => 0..3_usize, 1 => 0..12_usize]
}

fn card() -> impl Strategy<Value = Card> {
    prop_oneof![
        5 => Just(Card::Good),
        3 => Just(Card::Late),
        1 => Just(Card::Silent),
        2 => Just(Card::Declined),
        1 => Just(Card::Failing),
        1 => Just(Card::Unknown),
        2 => Just(Card::LateDeclined),
    ]
}
