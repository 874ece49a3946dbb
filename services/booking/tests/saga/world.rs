//! A booking with everything around it, as small as the table allows: the stored rows, the reservations in event-service,
//! the charges at the gateway, and the workers with what they know.

use booking_service::domain::{
    AttemptState, BookingStatus, PaymentStatus,
    saga::{Attempt, HoldState, Known, KnownCharge, KnownReservation, Saga, Step, next_step},
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::Mutant;

/// Reservation ids that one booking may use.
const RESERVATIONS: usize = 3;

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct World {
    free: bool,
    row: Row,
    attempts: Vec<Stored>,
    /// By reservation id.
    seats: [Seats; RESERVATIONS],
    event_gone: bool,
    sold_out: bool,
    /// The hold ended by event-service's clock.
    hold_over: bool,
    workers: [Option<Worker>; 2],
    /// A call that arrives later than its caller waited.
    late: Option<Late>,
    faults: u8,
    crashes: u8,
    payments: u8,
}

/// The row of the booking.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Row {
    status: BookingStatus,
    payment_status: PaymentStatus,
    held: bool,
    due: bool,
    release_pending: bool,
    reservation: usize,
}

/// A payment attempt and its refund, as stored, and its charge at the gateway.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Stored {
    named: bool,
    state: AttemptState,
    settled: bool,
    refund_pending: bool,
    charge: KnownCharge,
    refunded: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Seats {
    None,
    Held,
    Confirmed,
    Released,
}

/// A run, with what it read and what it learned.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Worker {
    row: Row,
    attempt: Option<(usize, Stored)>,
    known: Known,
    fresh: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Late {
    Hold(usize),
    Confirm(usize),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    Given,
    /// The call did not arrive.
    Lost,
    /// The call took effect, and its answer did not arrive.
    LostAfterwards,
    /// The call arrives after its caller gave up.
    Late,
    /// The gateway declines, or decides later.
    Declined,
    Processing,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    Step(usize, Answer),
    Crash(usize),
    Sweep(usize),
    Pay(usize),
    Cancel,
    CallOff,
    /// booking-service hears that the event is cancelled.
    Consume,
    Due,
    HoldEnds,
    SellOut,
    /// The gateway decides about a charge.
    Decide,
    Deliver,
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

impl Worker {
    fn saga(&self, free: bool) -> Saga {
        let until = if self.row.due { now() } else { now() + TimeDelta::seconds(1) };
        Saga {
            status: self.row.status,
            hold: if self.row.held { HoldState::Held { until } } else { HoldState::Requested { until } },
            free,
            release_pending: self.row.release_pending,
            attempt: match self.attempt {
                Some((_, Stored { state: AttemptState::Started, named, .. })) => {
                    if named {
                        Attempt::Started
                    } else {
                        Attempt::Unnamed
                    }
                }
                Some((_, Stored { state: AttemptState::Succeeded, settled: false, .. })) => Attempt::Charged,
                _ => Attempt::None,
            },
            refund_pending: self.attempt.is_some_and(|(_, stored)| stored.refund_pending),
            known: self.known,
        }
    }
}

impl World {
    /// A booking that was just stored, and the request that stored it.
    pub(crate) fn new(free: bool, [faults, crashes, payments]: [u8; 3]) -> Self {
        let row = Row {
            status: BookingStatus::Pending,
            payment_status: PaymentStatus::Unpaid,
            held: false,
            due: false,
            release_pending: false,
            reservation: 0,
        };
        let worker = Worker { row, attempt: None, known: Known::default(), fresh: true };
        Self {
            free,
            row,
            attempts: Vec::new(),
            seats: [Seats::None; RESERVATIONS],
            event_gone: false,
            sold_out: false,
            hold_over: false,
            workers: [Some(worker), None],
            late: None,
            faults,
            crashes,
            payments,
        }
    }

    pub(crate) fn actions(&self, mutant: Mutant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (slot, worker) in self.workers.iter().enumerate() {
            match worker {
                Some(worker) => {
                    actions.push(Action::Step(slot, Answer::Given));
                    let step = next_step(&worker.saga(self.free), now());
                    actions.extend(self.other_answers(step).into_iter().map(|answer| Action::Step(slot, answer)));
                    if self.crashes > 0 {
                        actions.push(Action::Crash(slot));
                    }
                }
                None => {
                    if self.is_due() {
                        actions.push(Action::Sweep(slot));
                    }
                    if self.payments > 0 && self.may_pay(mutant) {
                        actions.push(Action::Pay(slot));
                    }
                }
            }
        }
        let conditional = [
            (self.may_cancel(), Action::Cancel),
            (!self.event_gone, Action::CallOff),
            (self.event_gone && self.is_open(), Action::Consume),
            (!self.row.due && self.is_open(), Action::Due),
            (!self.hold_over, Action::HoldEnds),
            (!self.sold_out && self.seats.contains(&Seats::Released), Action::SellOut),
            (self.attempts.iter().any(|stored| stored.charge == KnownCharge::Processing), Action::Decide),
            (self.late.is_some(), Action::Deliver),
        ];
        actions.extend(conditional.into_iter().filter(|(possible, _)| *possible).map(|(_, action)| action));
        actions
    }

    fn other_answers(&self, step: Step) -> Vec<Answer> {
        let mut answers = Vec::new();
        if step == Step::ConfirmCharge {
            answers.extend([Answer::Declined, Answer::Processing]);
        }
        let called = !matches!(
            step,
            Step::GiveUpHold
                | Step::FailAttempt
                | Step::RenewReservation
                | Step::ConfirmBooking
                | Step::EndWithoutSeats
                | Step::Postpone
                | Step::Done
        );
        if called && self.faults > 0 {
            answers.extend([Answer::Lost, Answer::LostAfterwards]);
            if self.late.is_none() && matches!(step, Step::HoldSeats | Step::HoldAgain | Step::ConfirmCharge) {
                answers.push(Answer::Late);
            }
        }
        answers
    }

    pub(crate) fn act(&mut self, action: Action, mutant: Mutant) {
        match action {
            Action::Step(slot, answer) => self.step(slot, answer, mutant),
            Action::Crash(slot) => {
                self.crashes -= 1;
                self.workers[slot] = None;
            }
            Action::Sweep(slot) => self.workers[slot] = Some(self.read()),
            Action::Pay(slot) => self.pay(slot, mutant),
            Action::Cancel => self.end(BookingStatus::Cancelled, |stored| stored.state == AttemptState::Succeeded),
            Action::CallOff => self.event_gone = true,
            Action::Consume => {
                let to = if self.row.held { BookingStatus::Cancelled } else { BookingStatus::Rejected };
                self.end(to, |stored| stored.state == AttemptState::Succeeded && stored.settled);
            }
            Action::Due => self.row.due = true,
            Action::HoldEnds => self.hold_over = true,
            Action::SellOut => self.sold_out = true,
            Action::Decide => {
                let undecided = self.attempts.iter_mut().filter(|stored| stored.charge == KnownCharge::Processing);
                undecided.for_each(|stored| stored.charge = KnownCharge::Succeeded);
            }
            Action::Deliver => match self.late.take() {
                Some(Late::Hold(reservation)) => drop(self.hold(reservation)),
                Some(Late::Confirm(attempt)) => self.capture(attempt, KnownCharge::Succeeded),
                None => {}
            },
        }
    }

    /// Ends the booking with its release, and orders refunds.
    fn end(&mut self, status: BookingStatus, refunded: impl Fn(&Stored) -> bool) {
        (self.row.status, self.row.release_pending) = (status, true);
        self.attempts.iter_mut().filter(|stored| refunded(stored)).for_each(|stored| stored.refund_pending = true);
    }

    fn read(&self) -> Worker {
        let active = self.attempts.iter().rposition(is_active);
        let attempt = active.or(self.attempts.len().checked_sub(1)).map(|index| (index, self.attempts[index]));
        Worker { row: self.row, attempt, known: Known::default(), fresh: false }
    }

    fn is_open(&self) -> bool {
        matches!(self.row.status, BookingStatus::Pending | BookingStatus::Confirmed)
    }

    fn is_due(&self) -> bool {
        let undecided = |stored: &Stored| (is_active(stored) && !stored.settled) || stored.refund_pending;
        (self.row.status == BookingStatus::Pending && self.row.due)
            || self.row.release_pending
            || self.attempts.iter().any(undecided)
    }

    fn may_pay(&self, mutant: Mutant) -> bool {
        let payable = matches!(self.row.payment_status, PaymentStatus::Unpaid | PaymentStatus::Failed);
        self.row.status == BookingStatus::Pending
            && payable
            && self.row.held
            && !self.row.due
            && !self.free
            && (mutant == Mutant::OneLivePayment || !self.attempts.iter().any(is_active))
    }

    fn may_cancel(&self) -> bool {
        match self.row.status {
            BookingStatus::Pending => !self.attempts.iter().any(is_active),
            status => status == BookingStatus::Confirmed,
        }
    }

    fn pay(&mut self, slot: usize, mutant: Mutant) {
        self.payments -= 1;
        let stored = Stored {
            named: mutant != Mutant::NameBeforeCharge,
            state: AttemptState::Started,
            settled: false,
            refund_pending: false,
            charge: KnownCharge::Open,
            refunded: false,
        };
        self.attempts.push(stored);
        let attempt = Some((self.attempts.len() - 1, Stored { named: true, ..stored }));
        let known = Known { charge: KnownCharge::Unconfirmed, ..Known::default() };
        self.workers[slot] = Some(Worker { row: self.row, attempt, known, fresh: false });
    }

    fn step(&mut self, slot: usize, answer: Answer, mutant: Mutant) {
        let Some(mut worker) = self.workers[slot] else { return };
        let step = next_step(&worker.saga(self.free), now());
        if matches!(answer, Answer::Lost | Answer::LostAfterwards | Answer::Late) {
            self.faults -= 1;
            worker.fresh = false;
        }
        let arrived = !matches!(answer, Answer::Lost | Answer::Late);
        let answered = !matches!(answer, Answer::Lost | Answer::LostAfterwards | Answer::Late);
        let (reservation, attempt) = (worker.row.reservation, worker.attempt.map(|(index, _)| index));
        let index = attempt.unwrap_or_default();
        // What a step does elsewhere, and what its caller learns.
        match step {
            Step::HoldSeats | Step::HoldAgain => {
                if answer == Answer::Late {
                    self.late = Some(Late::Hold(reservation));
                }
                let outcome = if arrived { self.hold(reservation) } else { Ok(()) };
                match outcome {
                    _ if !answered => worker.known.event_service_silent = true,
                    Ok(()) if step == Step::HoldAgain => worker.known.reservation = KnownReservation::Unknown,
                    Ok(()) => return self.store_hold(slot, worker),
                    Err(refusal) if step == Step::HoldAgain => worker.known.reservation = refusal,
                    Err(_) => {
                        let certain = worker.fresh;
                        return self.commit(slot, worker, mutant, |world| {
                            world.row.status = BookingStatus::Rejected;
                            world.row.release_pending |= !certain;
                        });
                    }
                }
            }
            Step::ConfirmSeats => {
                let outcome = if arrived { self.confirm(reservation, mutant) } else { KnownReservation::Unknown };
                if answered {
                    worker.known.reservation = outcome;
                } else {
                    worker.known.event_service_silent = true;
                }
            }
            Step::ConfirmCharge => {
                match answer {
                    Answer::Late => self.late = Some(Late::Confirm(index)),
                    Answer::Declined => self.capture(index, KnownCharge::Cancelled),
                    Answer::Processing => self.capture(index, KnownCharge::Processing),
                    _ if arrived => self.capture(index, KnownCharge::Succeeded),
                    _ => {}
                }
                worker.known.charge = if answered { self.attempts[index].charge } else { KnownCharge::Unknown };
            }
            Step::FetchCharge if answered => worker.known.charge = self.attempts[index].charge,
            Step::CancelCharge => {
                let charge = &mut self.attempts[index].charge;
                if mutant == Mutant::Fence {
                    worker.known.charge = KnownCharge::Cancelled;
                } else {
                    if arrived && *charge == KnownCharge::Open {
                        *charge = KnownCharge::Cancelled;
                    }
                    worker.known.charge =
                        if *charge == KnownCharge::Cancelled { *charge } else { KnownCharge::Unknown };
                    worker.known.gateway_silent |= !answered;
                }
            }
            Step::FetchCharge => worker.known.gateway_silent = true,
            Step::ExpireHold => {
                let over = if arrived { self.release_expired(reservation, mutant) } else { false };
                if over && answered {
                    return self.commit(slot, worker, mutant, |world| world.row.status = BookingStatus::Expired);
                }
                worker.known.event_service_silent = true;
            }
            Step::ReleaseSeats => {
                if arrived {
                    self.seats[reservation] = Seats::Released;
                }
                if answered {
                    if self.row.reservation == reservation {
                        self.row.release_pending = false;
                    }
                    worker.row.release_pending = false;
                } else {
                    worker.known.event_service_silent = true;
                }
            }
            Step::Refund => {
                if arrived && self.attempts[index].charge == KnownCharge::Succeeded {
                    self.attempts[index].refunded = true;
                }
                if answered {
                    if self.row.payment_status == PaymentStatus::Paid {
                        self.row.payment_status = PaymentStatus::Refunded;
                        let stored = &mut self.attempts[index];
                        (stored.state, stored.refund_pending) = (AttemptState::Refunded, false);
                    }
                    return self.reload(slot, worker);
                }
                worker.known.gateway_silent = true;
            }
            Step::GiveUpHold => {
                if self.row.held {
                    return self.reload(slot, worker);
                }
                return self.commit(slot, worker, mutant, |world| {
                    (world.row.status, world.row.release_pending) = (BookingStatus::Rejected, true);
                });
            }
            Step::FailAttempt => {
                let named = worker.attempt.is_some_and(|(_, stored)| stored.named);
                let stored = &mut self.attempts[index];
                if stored.state == AttemptState::Started && (named || !stored.named) {
                    stored.state = AttemptState::Failed;
                    if self.row.payment_status == PaymentStatus::Unpaid {
                        self.row.payment_status = PaymentStatus::Failed;
                    }
                }
                return self.reload(slot, worker);
            }
            Step::RenewReservation => {
                let same = self.row.reservation == reservation && !self.row.release_pending;
                let open = matches!(self.row.status, BookingStatus::Pending | BookingStatus::Expired);
                if same && open && reservation + 1 < RESERVATIONS {
                    self.row.reservation += 1;
                }
                return self.reload(slot, worker);
            }
            Step::ConfirmBooking => {
                return self.commit(slot, worker, mutant, |world| {
                    (world.row.status, world.row.payment_status) = (BookingStatus::Confirmed, PaymentStatus::Paid);
                });
            }
            Step::EndWithoutSeats => {
                let paid = attempt.is_some();
                let gone = worker.known.reservation == KnownReservation::EventGone;
                return self.commit(slot, worker, mutant, |world| {
                    world.row.release_pending = true;
                    if world.row.status == BookingStatus::Pending {
                        world.row.status = if gone { BookingStatus::Cancelled } else { BookingStatus::Expired };
                    }
                    if paid {
                        world.row.payment_status = PaymentStatus::Paid;
                        world.attempts[index].refund_pending = true;
                    }
                });
            }
            Step::Postpone | Step::Done => {
                self.workers[slot] = None;
                return;
            }
        }
        self.workers[slot] = Some(worker);
    }

    /// Commits a change of the booking if it is as the worker read it, and settles the attempt that paid for it.
    fn commit(&mut self, slot: usize, worker: Worker, mutant: Mutant, change: impl FnOnce(&mut Self)) {
        let read = |row: &Row| (row.status, row.payment_status, row.reservation);
        let same = read(&self.row) == read(&worker.row) || mutant == Mutant::CompareAndSet;
        let saga = worker.saga(self.free);
        let paid = matches!(saga.attempt, Attempt::Charged)
            || (saga.attempt == Attempt::Started && worker.known.charge == KnownCharge::Succeeded);
        let index = worker.attempt.map_or(0, |(index, _)| index);
        let unsettled = !paid || (is_active(&self.attempts[index]) && !self.attempts[index].settled);
        if same && unsettled {
            if paid {
                (self.attempts[index].state, self.attempts[index].settled) = (AttemptState::Succeeded, true);
            }
            change(self);
        }
        self.reload(slot, worker);
    }

    fn store_hold(&mut self, slot: usize, worker: Worker) {
        let row = &mut self.row;
        if row.reservation == worker.row.reservation {
            match row.status {
                BookingStatus::Pending if !row.held => row.held = true,
                BookingStatus::Rejected | BookingStatus::Cancelled | BookingStatus::Expired => {
                    row.release_pending = true;
                }
                BookingStatus::Pending | BookingStatus::Confirmed => {}
            }
        }
        self.reload(slot, worker);
    }

    /// The worker reads what is stored, and keeps what it knows.
    fn reload(&mut self, slot: usize, worker: Worker) {
        let read = self.read();
        let attempt = |worker: &Worker| worker.attempt.map(|(index, _)| index);
        let same_reservation = read.row.reservation == worker.row.reservation;
        let known = worker.known.kept(same_reservation, attempt(&read) == attempt(&worker));
        self.workers[slot] = Some(Worker { known, fresh: worker.fresh, ..read });
    }

    fn hold(&mut self, reservation: usize) -> Result<(), KnownReservation> {
        match self.seats[reservation] {
            _ if self.event_gone => Err(KnownReservation::EventGone),
            Seats::Held | Seats::Confirmed => Ok(()),
            Seats::Released => Err(KnownReservation::Released),
            Seats::None if self.sold_out => Err(KnownReservation::SoldOut),
            Seats::None => {
                self.seats[reservation] = Seats::Held;
                Ok(())
            }
        }
    }

    fn confirm(&mut self, reservation: usize, mutant: Mutant) -> KnownReservation {
        if mutant == Mutant::SeatsBeforeConfirmed {
            return KnownReservation::Confirmed;
        }
        let seats = &mut self.seats[reservation];
        match seats {
            Seats::Confirmed => KnownReservation::Confirmed,
            _ if self.event_gone => KnownReservation::EventGone,
            Seats::Held => {
                *seats = Seats::Confirmed;
                KnownReservation::Confirmed
            }
            Seats::Released if mutant == Mutant::ReleasedStaysReleased => KnownReservation::Confirmed,
            Seats::Released => KnownReservation::Released,
            Seats::None => KnownReservation::Missing,
        }
    }

    /// Releases a hold that is over; returns whether it is released.
    fn release_expired(&mut self, reservation: usize, mutant: Mutant) -> bool {
        let seats = &mut self.seats[reservation];
        let over = match seats {
            Seats::Held => self.hold_over,
            Seats::Confirmed => false,
            Seats::Released | Seats::None => true,
        };
        if over || mutant == Mutant::OnlyExpired {
            *seats = Seats::Released;
        }
        over || mutant == Mutant::OnlyExpired
    }

    fn capture(&mut self, attempt: usize, to: KnownCharge) {
        let charge = &mut self.attempts[attempt].charge;
        if *charge == KnownCharge::Open {
            *charge = to;
        }
    }

    pub(crate) fn confirmed_is_sold(&self) -> bool {
        self.row.status != BookingStatus::Confirmed
            || (self.seats[self.row.reservation] == Seats::Confirmed && (self.free || self.net_charges() == 1))
    }

    /// Charges that were not refunded.
    pub(crate) fn net_charges(&self) -> usize {
        self.attempts.iter().filter(|stored| stored.charge == KnownCharge::Succeeded && !stored.refunded).count()
    }

    pub(crate) fn failed_never_charged(&self) -> bool {
        !self
            .attempts
            .iter()
            .any(|stored| stored.state == AttemptState::Failed && stored.charge == KnownCharge::Succeeded)
    }

    /// Whether sweepers alone, without more faults, bring this world to an end that keeps every promise.
    pub(crate) fn is_finished_by_a_sweeper(&self, mutant: Mutant) -> bool {
        let mut world = self.clone();
        world.workers = [None, None];
        (world.faults, world.crashes, world.payments) = (0, 0, 0);
        (world.row.due, world.hold_over) = (true, true);
        if world.event_gone && world.is_open() {
            world.act(Action::Consume, mutant);
        }
        for _ in 0..2 {
            world.act(Action::Decide, mutant);
            for _ in 0..8 {
                if !world.is_due() {
                    break;
                }
                world.act(Action::Sweep(0), mutant);
                for _ in 0..32 {
                    if world.workers[0].is_some() {
                        world.act(Action::Step(0, Answer::Given), mutant);
                    }
                }
                world.act(Action::Decide, mutant);
            }
            // The call that is late comes when everything is over.
            world.act(Action::Deliver, mutant);
        }
        let sold = |seats: &&Seats| matches!(seats, Seats::Held | Seats::Confirmed);
        let taken = world.seats.iter().filter(sold).count();
        let confirmed = world.row.status == BookingStatus::Confirmed;
        !world.is_due()
            && world.workers[0].is_none()
            && world.row.status != BookingStatus::Pending
            && world.confirmed_is_sold()
            && taken == usize::from(confirmed)
            && world.net_charges() == usize::from(confirmed && !world.free)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "a predicate of iterators")]
fn is_active(stored: &Stored) -> bool {
    matches!(stored.state, AttemptState::Started | AttemptState::Succeeded)
}
