//! What holds of the model after every command: what the design promises of the platform.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::machine::{Booking, Money, Status, Step, Ticket, World};
use crate::runner;
use crate::scenario::{PEOPLE, scenarios};

const CASES: u32 = 400;
const COMMANDS: usize = 40;

/// Checks something of the world before and after each command of many sequences.
fn after_every_command(check: impl Fn(&World, &World, Step) -> TestCaseResult) {
    let result = runner(CASES).run(&scenarios(COMMANDS), |scenario| {
        let mut world = World::new(scenario.events);
        for command in &scenario.commands {
            let before = world.clone();
            let step = world.apply(command);
            check(&before, &world, step)?;
        }
        Ok(())
    });
    result.unwrap();
}

/// The bookings that were there before, as they were and as they are.
fn changed<'a>(before: &'a World, after: &'a World) -> impl Iterator<Item = (&'a Booking, &'a Booking)> {
    before.bookings.iter().zip(&after.bookings)
}

#[test]
fn never_more_seats_are_held_and_sold_than_there_are() {
    after_every_command(|_, world, _| {
        for (number, event) in world.events.iter().enumerate() {
            let (held, sold) = world.seats(number);
            prop_assert!(held + sold <= event.capacity);
        }
        Ok(())
    });
}

#[test]
fn nobody_holds_or_has_more_seats_than_one_person_may() {
    after_every_command(|_, world, _| {
        for (number, event) in world.events.iter().enumerate() {
            for person in 0..PEOPLE {
                let (held, sold) = world.seats_of(person, number);
                let free = event.price == 0;
                prop_assert!(free || held <= event.most_per_booking);
                let most = event.most_per_person.or(free.then_some(event.most_per_booking));
                prop_assert!(most.is_none_or(|most| held + sold <= most));
            }
        }
        Ok(())
    });
}

#[test]
fn a_booking_is_charged_at_most_once_and_refunded_only_what_was_charged() {
    after_every_command(|_, world, _| {
        for booking in &world.bookings {
            prop_assert!(booking.charges.len() <= 1 && booking.refunds.len() <= booking.charges.len());
            prop_assert!(booking.refunds.is_empty() || booking.refunds == booking.charges);
        }
        Ok(())
    });
}

#[test]
fn who_has_seats_has_paid_for_them_and_who_has_none_has_the_money_back() {
    after_every_command(|_, world, _| {
        for booking in &world.bookings {
            let price = world.events[booking.event].price * i64::from(booking.seats);
            let kept = booking.charges.iter().sum::<i64>() - booking.refunds.iter().sum::<i64>();
            let sold = booking.status == Status::Confirmed;
            prop_assert_eq!(kept, if sold { price } else { 0 });
            prop_assert!(!sold || booking.money == Money::Paid);
        }
        Ok(())
    });
}

#[test]
fn who_has_seats_has_a_ticket_for_each_and_nobody_else_has_one_that_is_not_void() {
    after_every_command(|_, world, _| {
        for booking in &world.bookings {
            let live = booking.tickets.iter().filter(|ticket| **ticket != Ticket::Void).count();
            let expected = if booking.status == Status::Confirmed { booking.seats } else { 0 };
            prop_assert_eq!(u32::try_from(live).unwrap(), expected, "{:?}", booking);
        }
        Ok(())
    });
}

#[test]
fn who_has_come_in_loses_the_seat_only_with_the_event() {
    after_every_command(|before, after, _| {
        for (was, is) in changed(before, after).filter(|(was, _)| was.tickets.contains(&Ticket::Used)) {
            prop_assert!(is.status == Status::Confirmed || after.events[is.event].cancelled, "{was:?} became {is:?}");
        }
        Ok(())
    });
}

#[test]
fn only_the_transitions_of_the_design_happen() {
    use Status::{Cancelled, Confirmed, Expired, Pending};
    after_every_command(|before, after, _| {
        for (was, is) in changed(before, after).filter(|(was, is)| was.status != is.status) {
            let legal = matches!(
                (was.status, is.status),
                (Pending, Confirmed | Expired | Cancelled) | (Expired, Confirmed) | (Confirmed, Cancelled)
            );
            prop_assert!(legal, "{was:?} became {is:?}");
        }
        for (was, is) in changed(before, after).filter(|(was, is)| was.money != is.money) {
            let legal = match (was.money, is.money) {
                (Money::Unpaid, Money::Paid | Money::Failed)
                | (Money::Failed, Money::Paid)
                | (Money::Paid, Money::Refunded) => true,
                // By way of Paid, both within one command.
                (Money::Unpaid | Money::Failed, Money::Refunded) => is.charges.len() == was.charges.len() + 1,
                _ => false,
            };
            prop_assert!(legal, "{was:?} became {is:?}");
        }
        Ok(())
    });
}

#[test]
fn every_booking_that_ends_frees_its_seats() {
    after_every_command(|before, after, _| {
        let has_seats = |booking: &Booking| matches!(booking.status, Status::Pending | Status::Confirmed);
        let seats = |world: &World, event: usize| {
            let (held, sold) = world.seats(event);
            i64::from(held + sold)
        };
        for event in 0..after.events.len() {
            let of_event = changed(before, after).filter(|(booking, _)| booking.event == event);
            let moved: i64 = of_event
                .map(|(was, is)| i64::from(is.seats) * (i64::from(has_seats(is)) - i64::from(has_seats(was))))
                .sum();
            let new = after.bookings.iter().skip(before.bookings.len()).filter(|it| it.event == event && has_seats(it));
            let taken: i64 = new.map(|booking| i64::from(booking.seats)).sum();
            prop_assert_eq!(seats(after, event) - seats(before, event), moved + taken);
        }
        Ok(())
    });
}

#[test]
fn every_end_is_told_once_and_nothing_else_is() {
    after_every_command(|_, world, _| {
        for booking in &world.bookings {
            let count = |kind| booking.told.iter().filter(|told| **told == kind).count();
            prop_assert!(count("booking.confirmed") <= 1 && count("booking.expired") <= 1, "{booking:?}");
            prop_assert_eq!(count("booking.cancelled"), usize::from(booking.status == Status::Cancelled));
            prop_assert_eq!(count("booking.refunded"), usize::from(booking.money == Money::Refunded));
            prop_assert!(booking.status != Status::Confirmed || count("booking.confirmed") == 1);
            prop_assert!(booking.status != Status::Expired || count("booking.expired") == 1);
            prop_assert!(booking.status != Status::Rejected || booking.told.is_empty());
        }
        Ok(())
    });
}

#[test]
fn a_refusal_takes_no_seats_and_moves_no_money() {
    after_every_command(|before, after, step| {
        let Step::Asked(_, (400.., Some(_))) = step else { return Ok(()) };
        for (was, is) in changed(before, after) {
            prop_assert_eq!((was.status, &was.charges, &was.told), (is.status, &is.charges, &is.told));
            prop_assert_eq!(&was.tickets, &is.tickets);
        }
        for event in 0..after.events.len() {
            prop_assert_eq!(before.seats(event), after.seats(event));
        }
        Ok(())
    });
}

/// Something that a booking may go through, and how to tell that it did.
type Corner = (&'static str, fn(&Booking) -> bool);

/// Sequences that never got there would prove little.
const CORNERS: [Corner; 10] = [
    ("sold out or called off", |it| it.status == Status::Rejected),
    ("a late payment won its seats back", |it| it.told == ["booking.expired", "booking.confirmed"]),
    ("a late payment found its seats gone", |it| it.told == ["booking.expired", "booking.refunded"]),
    ("a late payment found its event called off", |it| it.told == ["booking.cancelled", "booking.refunded"]),
    ("a paid booking ended", |it| it.told == ["booking.confirmed", "booking.cancelled", "booking.refunded"]),
    ("a free booking ended", |it| it.told == ["booking.confirmed", "booking.cancelled"]),
    ("an unpaid booking ended", |it| it.told == ["booking.cancelled"]),
    ("somebody came in", |it| it.tickets.contains(&Ticket::Used)),
    ("one came in and another did not", |it| it.tickets.contains(&Ticket::Used) && it.tickets.contains(&Ticket::Valid)),
    ("a payment failed and the hold ran out", |it| it.money == Money::Failed && it.status == Status::Expired),
];

#[test]
fn sequences_as_long_as_those_that_are_replayed_reach_every_corner() {
    let reached = std::cell::RefCell::new(std::collections::BTreeMap::from(CORNERS.map(|(corner, _)| (corner, 0))));

    let result = runner(CASES).run(&scenarios(crate::replay::COMMANDS), |scenario| {
        let mut world = World::new(scenario.events);
        for command in &scenario.commands {
            world.apply(command);
        }
        for (corner, is_there) in CORNERS {
            *reached.borrow_mut().get_mut(corner).unwrap() += usize::from(world.bookings.iter().any(is_there));
        }
        Ok(())
    });

    result.unwrap();
    let reached = reached.into_inner();
    eprintln!("of {CASES} sequences: {reached:#?}");
    assert!(reached.values().all(|count| *count > 0), "{reached:#?}");
}
