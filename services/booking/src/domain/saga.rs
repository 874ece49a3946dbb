//! The life of a booking as a table: [`next_step`] says what follows in every state. It is pure; the steps and the loop
//! that runs them are in `flow`. The table in docs/architecture.md is made from [`Step::ALL`].
//!
//! A step has one effect: a call to another service, or a commit. The process may be killed between any two; requests,
//! sweepers and webhooks read what is stored and continue from there. What a run learned from other services and did
//! not store, such as the state of a charge, is lost with it, and asked for again.

use chrono::{DateTime, Utc};

use super::{
    booking::{Booking, PayRefusal},
    payment::{Payment, Refund},
    status::{AttemptState, BookingStatus, RefundState},
};

/// What is stored about one booking, read at one moment.
#[derive(Clone, Debug)]
pub struct SagaRecord {
    pub booking: Booking,
    /// The unresolved or captured attempt, or else the latest.
    pub attempt: Option<Payment>,
    pub refund: Option<Refund>,
    /// When a sweeper continues a Pending booking: at the end of the hold, or of the time to hold its seats.
    pub due_at: DateTime<Utc>,
    /// Whether a worker has a lease on the attempt.
    pub attempt_leased: bool,
    /// Whether a worker has a lease on the refund.
    pub refund_leased: bool,
    /// The database's clock.
    pub read_at: DateTime<Utc>,
}

/// What one run learned from the other services.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Known {
    pub reservation: KnownReservation,
    pub charge: KnownCharge,
    /// event-service gave no usable answer in this run.
    pub event_service_silent: bool,
    /// The gateway gave no conclusive answer in this run.
    pub gateway_silent: bool,
}

/// The state of a booking and of everything that belongs to it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Saga {
    pub status: BookingStatus,
    pub hold: HoldState,
    /// Nothing is to be paid.
    pub free: bool,
    /// The booking ended, and its seats are not released yet.
    pub release_pending: bool,
    pub attempt: Attempt,
    /// A refund is ordered and not done, and no other worker has it.
    pub refund_pending: bool,
    pub known: Known,
}

/// Whether event-service holds the seats of a Pending booking, and when a sweeper looks after it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HoldState {
    /// Not known yet; given up at this time.
    Requested { until: DateTime<Utc> },
    /// Over at this time, unless event-service says otherwise.
    Held { until: DateTime<Utc> },
}

/// The payment attempt that still needs work.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Attempt {
    /// There is none, or another worker has it.
    None,
    /// Stored without a charge id: nothing was charged.
    Unnamed,
    /// Undecided, as far as is stored.
    Started,
    /// Charged and not settled.
    Charged,
}

/// The reservation in event-service, as far as this run knows.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum KnownReservation {
    #[default]
    Unknown,
    Confirmed,
    Released,
    /// event-service does not know the reservation id.
    Missing,
    /// The event takes place, but this booking gets no seats, for any reason.
    SoldOut,
    /// The event was cancelled or deleted.
    EventGone,
}

/// The charge at the gateway, as far as this run knows.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum KnownCharge {
    #[default]
    Unknown,
    /// This run created it and has not confirmed it.
    Unconfirmed,
    /// No money has moved, but it still may.
    Open,
    /// The gateway has not decided yet.
    Processing,
    Succeeded,
    /// No money has moved, and none ever will.
    Cancelled,
}

/// What a run does next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    HoldSeats,
    GiveUpHold,
    ConfirmCharge,
    FetchCharge,
    CancelCharge,
    FailAttempt,
    ConfirmSeats,
    RenewReservation,
    HoldAgain,
    ConfirmBooking,
    EndWithoutSeats,
    ExpireHold,
    ReleaseSeats,
    Refund,
    /// Something is left to do, and cannot be done now: a sweeper continues.
    Postpone,
    /// Nothing is left to do, or nothing before this time.
    Done,
}

/// The next step of a saga at that time of the database's clock.
pub fn next_step(saga: &Saga, now: DateTime<Utc>) -> Step {
    let Known { event_service_silent, gateway_silent, .. } = saga.known;
    let mut postponed = false;
    if saga.release_pending {
        if !event_service_silent {
            return Step::ReleaseSeats;
        }
        postponed = true;
    }
    match attempt_step(saga) {
        Some(Step::Postpone) => postponed = true,
        Some(step) => return step,
        None => {}
    }
    if saga.refund_pending {
        if !gateway_silent {
            return Step::Refund;
        }
        postponed = true;
    }
    match booking_step(saga, now) {
        Step::Done if postponed => Step::Postpone,
        step => step,
    }
}

/// The next step for the payment attempt. `None` if nothing is to be done for one.
fn attempt_step(saga: &Saga) -> Option<Step> {
    let step = match (saga.attempt, saga.known.charge) {
        (Attempt::None, _) => return None,
        (Attempt::Unnamed, _) | (Attempt::Started, KnownCharge::Cancelled) => Step::FailAttempt,
        (Attempt::Charged, _) | (Attempt::Started, KnownCharge::Succeeded) => match saga.status {
            BookingStatus::Pending | BookingStatus::Expired => seats_step(saga),
            BookingStatus::Cancelled | BookingStatus::Rejected | BookingStatus::Confirmed => Step::EndWithoutSeats,
        },
        (Attempt::Started, _) if saga.known.gateway_silent => Step::Postpone,
        (Attempt::Started, KnownCharge::Unconfirmed) => Step::ConfirmCharge,
        (Attempt::Started, KnownCharge::Unknown) => Step::FetchCharge,
        (Attempt::Started, KnownCharge::Open) => Step::CancelCharge,
        (Attempt::Started, KnownCharge::Processing) => Step::Postpone,
    };
    Some(step)
}

/// The next step for seats that are paid for, or free.
fn seats_step(saga: &Saga) -> Step {
    match saga.known.reservation {
        KnownReservation::Confirmed => Step::ConfirmBooking,
        KnownReservation::SoldOut | KnownReservation::EventGone => Step::EndWithoutSeats,
        // Nobody paid, so nobody is owed other seats.
        KnownReservation::Released | KnownReservation::Missing if saga.free => Step::EndWithoutSeats,
        KnownReservation::Released => Step::RenewReservation,
        KnownReservation::Unknown | KnownReservation::Missing if saga.known.event_service_silent => Step::Postpone,
        KnownReservation::Unknown => Step::ConfirmSeats,
        KnownReservation::Missing => Step::HoldAgain,
    }
}

/// The next step for a booking whose attempt, release and refund need nothing now.
fn booking_step(saga: &Saga, now: DateTime<Utc>) -> Step {
    if saga.status != BookingStatus::Pending {
        return Step::Done;
    }
    let silent = saga.known.event_service_silent;
    match saga.hold {
        HoldState::Requested { until } if now >= until => Step::GiveUpHold,
        HoldState::Requested { .. } if silent => Step::Done,
        HoldState::Requested { .. } => Step::HoldSeats,
        HoldState::Held { .. } if saga.free => seats_step(saga),
        HoldState::Held { until } if now < until => Step::Done,
        // Paid for, and event-service is about to be asked for the seats.
        HoldState::Held { .. } if matches!(saga.attempt, Attempt::Charged) => Step::Done,
        HoldState::Held { .. } if silent => Step::Postpone,
        HoldState::Held { .. } => Step::ExpireHold,
    }
}

impl Known {
    /// What is still known after the saga was read again.
    #[must_use]
    pub fn kept(self, same_reservation: bool, same_attempt: bool) -> Self {
        Self {
            reservation: if same_reservation { self.reservation } else { KnownReservation::Unknown },
            charge: if same_attempt { self.charge } else { KnownCharge::Unknown },
            ..self
        }
    }
}

impl SagaRecord {
    /// This record, with the attempt and the refund of an earlier one where it has none.
    #[must_use]
    pub fn or(self, earlier: &Self) -> Self {
        let attempt = self.attempt.or_else(|| earlier.attempt.clone());
        let refund = self.refund.or_else(|| earlier.refund.clone());
        Self { attempt, refund, ..self }
    }

    /// Amount and currency to pay, if the owner may start a payment attempt.
    pub fn may_pay(&self) -> Result<(i64, &str), PayRefusal> {
        let expired = self.booking.expires_at.is_some_and(|until| until <= self.read_at);
        self.booking.may_pay(self.attempt.as_ref().is_some_and(Payment::is_active), expired)
    }

    /// The state to decide from. `attempt` and `refund` say that this run has their leases.
    pub fn saga(&self, known: Known, attempt: bool, refund: bool) -> Saga {
        let Booking { status, expires_at, amount, release_pending, .. } = self.booking;
        Saga {
            status,
            hold: expires_at.map_or(HoldState::Requested { until: self.due_at }, |until| HoldState::Held { until }),
            free: amount == Some(0),
            release_pending,
            attempt: match &self.attempt {
                Some(_) if self.attempt_leased && !attempt => Attempt::None,
                Some(payment) => match (payment.state, &payment.gateway_id) {
                    (AttemptState::Started, None) => Attempt::Unnamed,
                    (AttemptState::Started, Some(_)) => Attempt::Started,
                    (AttemptState::Succeeded, _) if payment.settled_at.is_none() => Attempt::Charged,
                    (AttemptState::Succeeded | AttemptState::Failed | AttemptState::Refunded, _) => Attempt::None,
                },
                None => Attempt::None,
            },
            refund_pending: (refund || !self.refund_leased)
                && self.refund.as_ref().is_some_and(|refund| refund.state == RefundState::Pending),
            known,
        }
    }
}

impl Step {
    /// The steps with an effect, in the order of a booking's life.
    pub const ALL: [Self; 14] = [
        Self::HoldSeats,
        Self::GiveUpHold,
        Self::ConfirmCharge,
        Self::FetchCharge,
        Self::CancelCharge,
        Self::FailAttempt,
        Self::ConfirmSeats,
        Self::RenewReservation,
        Self::HoldAgain,
        Self::ConfirmBooking,
        Self::EndWithoutSeats,
        Self::ExpireHold,
        Self::ReleaseSeats,
        Self::Refund,
    ];

    #[cfg(test)]
    /// The row of the table: when it is the next step, its effect, what undoes the effect, and who repeats the step if it
    /// was interrupted.
    fn row(self) -> [&'static str; 4] {
        const SWEEPER: &str = "sweeper, after the lease";
        match self {
            Self::HoldSeats => [
                "Pending, hold unknown, within 60 s",
                "event-service holds the seats under the stored reservation id; hold or refusal is stored",
                "release",
                "the client, with the same key",
            ],
            Self::GiveUpHold => ["Pending, hold unknown after 60 s", "Rejected, release pending", "nothing", "sweeper"],
            Self::ConfirmCharge => [
                "attempt started by this run",
                "the gateway moves the money of the stored charge",
                "refund",
                "never; the charge is fetched",
            ],
            Self::FetchCharge => [
                "attempt started, charge unknown",
                "the gateway tells the state of the charge",
                "nothing to undo",
                SWEEPER,
            ],
            Self::CancelCharge => [
                "attempt started, charge open",
                "the gateway cancels the charge, so that it never moves money",
                "another attempt",
                SWEEPER,
            ],
            Self::FailAttempt => [
                "attempt started, charge cancelled or never created",
                "attempt failed; the hold stays",
                "another attempt",
                SWEEPER,
            ],
            Self::ConfirmSeats => {
                ["charged or free, reservation unknown", "event-service confirms the reservation", "release", SWEEPER]
            }
            Self::RenewReservation => {
                ["charged, reservation released", "a new reservation id is stored", "nothing to undo", SWEEPER]
            }
            Self::HoldAgain => [
                "charged, reservation unknown to event-service",
                "event-service holds the seats again",
                "release",
                SWEEPER,
            ],
            Self::ConfirmBooking => [
                "charged or free, reservation confirmed",
                "Confirmed and Paid with its tickets, attempt settled, message to the owner",
                "cancellation: release and refund",
                SWEEPER,
            ],
            Self::EndWithoutSeats => [
                "charged or free, and there are no seats",
                "Expired or Cancelled, release pending, refund ordered, message to the owner",
                "nothing",
                SWEEPER,
            ],
            Self::ExpireHold => [
                "Pending, hold over, nothing charged",
                "event-service releases the hold if it is over by its clock; Expired, message to the owner",
                "a late charge holds seats again",
                "sweeper",
            ],
            Self::ReleaseSeats => {
                ["release pending", "event-service releases the reservation; the release is stored", "nothing", SWEEPER]
            }
            Self::Refund => {
                ["refund pending", "the gateway refunds the charge; Refunded, message to the owner", "nothing", SWEEPER]
            }
            Self::Postpone | Self::Done => [""; 4],
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    const RESERVATIONS: [KnownReservation; 6] = [
        KnownReservation::Unknown,
        KnownReservation::Confirmed,
        KnownReservation::Released,
        KnownReservation::Missing,
        KnownReservation::SoldOut,
        KnownReservation::EventGone,
    ];
    const CHARGES: [KnownCharge; 6] = [
        KnownCharge::Unknown,
        KnownCharge::Unconfirmed,
        KnownCharge::Open,
        KnownCharge::Processing,
        KnownCharge::Succeeded,
        KnownCharge::Cancelled,
    ];
    const ATTEMPTS: [Attempt; 4] = [Attempt::None, Attempt::Unnamed, Attempt::Started, Attempt::Charged];
    const BOTH: [bool; 2] = [false, true];

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    /// Every state that there is.
    fn sagas() -> Vec<Saga> {
        let (past, future) = (now(), now() + chrono::TimeDelta::seconds(1));
        let holds = [past, future]
            .into_iter()
            .flat_map(|until| [HoldState::Requested { until }, HoldState::Held { until }])
            .collect::<Vec<_>>();
        let mut known = Vec::new();
        for reservation in RESERVATIONS {
            for charge in CHARGES {
                for event_service_silent in BOTH {
                    for gateway_silent in BOTH {
                        known.push(Known { reservation, charge, event_service_silent, gateway_silent });
                    }
                }
            }
        }
        let mut sagas = Vec::new();
        for status in BookingStatus::VARIANTS.iter().copied() {
            for hold in holds.iter().copied() {
                for attempt in ATTEMPTS {
                    for free in BOTH {
                        for release_pending in BOTH {
                            for refund_pending in BOTH {
                                sagas.extend(known.iter().map(|known| Saga {
                                    status,
                                    hold,
                                    free,
                                    release_pending,
                                    attempt,
                                    refund_pending,
                                    known: *known,
                                }));
                            }
                        }
                    }
                }
            }
        }
        sagas
    }

    #[test]
    fn no_step_calls_a_service_that_was_silent_in_this_run() {
        for saga in sagas() {
            let step = next_step(&saga, now());
            let to_gateway =
                matches!(step, Step::ConfirmCharge | Step::FetchCharge | Step::CancelCharge | Step::Refund);
            let to_events = matches!(
                step,
                Step::HoldSeats | Step::ConfirmSeats | Step::HoldAgain | Step::ExpireHold | Step::ReleaseSeats
            );
            assert!(!(to_gateway && saga.known.gateway_silent), "{step:?} of {saga:?}");
            assert!(!(to_events && saga.known.event_service_silent), "{step:?} of {saga:?}");
        }
    }

    #[test]
    fn a_booking_is_confirmed_only_with_confirmed_seats_that_are_paid_or_free() {
        for saga in sagas().into_iter().filter(|saga| next_step(saga, now()) == Step::ConfirmBooking) {
            let charged = saga.attempt == Attempt::Charged
                || (saga.attempt == Attempt::Started && saga.known.charge == KnownCharge::Succeeded);
            assert_eq!(saga.known.reservation, KnownReservation::Confirmed);
            assert!(charged || saga.free, "{saga:?}");
        }
    }

    #[test]
    fn money_moves_only_for_an_attempt_that_this_run_started_or_back_after_an_order() {
        for saga in sagas() {
            match next_step(&saga, now()) {
                Step::ConfirmCharge => {
                    assert_eq!((saga.attempt, saga.known.charge), (Attempt::Started, KnownCharge::Unconfirmed));
                }
                Step::Refund => assert!(saga.refund_pending),
                _ => {}
            }
        }
    }

    #[test]
    fn an_attempt_fails_only_when_its_charge_can_never_move_money() {
        for saga in sagas().into_iter().filter(|saga| next_step(saga, now()) == Step::FailAttempt) {
            assert!(saga.attempt == Attempt::Unnamed || saga.known.charge == KnownCharge::Cancelled, "{saga:?}");
        }
    }

    #[test]
    fn a_hold_ends_only_after_its_time_and_never_under_captured_money() {
        for saga in sagas().into_iter().filter(|saga| next_step(saga, now()) == Step::ExpireHold) {
            assert_eq!((saga.status, saga.hold), (BookingStatus::Pending, HoldState::Held { until: now() }));
            assert_ne!(saga.attempt, Attempt::Charged);
        }
    }

    #[test]
    fn nothing_is_left_when_it_is_done() {
        for saga in sagas().into_iter().filter(|saga| next_step(saga, now()) == Step::Done) {
            assert!(!saga.release_pending && !saga.refund_pending, "{saga:?}");
            let undecided = matches!(saga.attempt, Attempt::Unnamed | Attempt::Started | Attempt::Charged);
            assert!(!undecided, "{saga:?}");
        }
    }

    #[test]
    fn the_architecture_page_draws_this_table() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/architecture.md")).unwrap();
        let mut table = String::from("| Step | When | Effect | Undone by | Repeated by |\n|---|---|---|---|---|\n");
        for step in Step::ALL {
            table.push_str(&format!("| {step:?} | {} |\n", step.row().join(" | ")));
        }

        assert!(page.contains(&table), "docs/architecture.md needs this table:\n\n{table}");
    }
}
