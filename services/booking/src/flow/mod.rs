//! Runs the saga of a booking: [`Run::drive`] takes the steps that [`next_step`] names, one file each, until nothing is
//! left to do now. Requests ([`book`], [`pay`], [`cancel`]), the sweeper and [`delete_account`] all enter it.
//!
//! Each step reads nothing but the run, has one effect, and returns a [`StepOutcome`]. The process may be killed between
//! any two steps, and several workers may run the same saga: every commit is a compare-and-set.

pub mod book;
pub mod cancel;
mod cancel_charge;
mod confirm_booking;
mod confirm_charge;
mod confirm_seats;
pub mod delete_account;
mod end_without_seats;
mod expire_hold;
mod fail_attempt;
mod fetch_charge;
mod give_up_hold;
mod hold_again;
mod hold_seats;
pub mod pay;
mod refund;
mod release_seats;
mod renew_reservation;

use axum::response::Response;
use platform::idempotency::{IdempotentRequest, StoredAnswer};

use crate::{
    domain::{
        Payment, Refund,
        charge::{Charge, ChargeState},
        payment::{CARD_DECLINED, FAILED_BEFORE_CHARGE},
        saga::{Known, KnownCharge, SagaRecord, Step, next_step},
    },
    error::Interrupted,
    state::AppState,
    store::{ClaimedSaga, UnitOfWork},
};

/// The most steps of one run; a sweeper takes over after them.
const MAX_STEPS: u32 = 24;

/// What a step did.
enum StepOutcome {
    /// It committed a change.
    Stored(Box<SagaRecord>),
    /// It learned something from another service.
    Learned(Known),
    /// The saga changed meanwhile, so nothing was committed.
    Stale,
}

/// How the request of a run is answered.
struct Reply<'a> {
    request: &'a IdempotentRequest,
    respond: &'a (dyn Fn(&SagaRecord) -> Response + Send + Sync),
}

/// One run of the saga of one booking.
pub struct Run<'a> {
    state: &'a AppState,
    record: SagaRecord,
    known: Known,
    /// The leases of this run.
    claimed: ClaimedSaga,
    reply: Option<Reply<'a>>,
    /// No earlier run can have asked event-service for the seats.
    fresh: bool,
    /// When to try again, if event-service refused a hold for now.
    retry_after_seconds: Option<u32>,
    /// Why the attempt fails, if its charge moves no money.
    failure: (&'static str, String),
    /// Why another service gave no usable answer.
    unavailable: Option<anyhow::Error>,
}

impl<'a> Run<'a> {
    /// A run that continues what is stored, with the leases that it claimed.
    pub fn resume(state: &'a AppState, record: SagaRecord, claimed: ClaimedSaga) -> Self {
        Self {
            state,
            record,
            known: Known::default(),
            claimed,
            reply: None,
            fresh: false,
            retry_after_seconds: None,
            failure: (FAILED_BEFORE_CHARGE, "nothing was charged".to_owned()),
            unavailable: None,
        }
    }

    /// A run for a request, which has all leases.
    fn for_request(state: &'a AppState, record: SagaRecord, reply: Option<Reply<'a>>) -> Self {
        let claimed = ClaimedSaga { booking_id: record.booking.id, attempt: true, refund: true };
        Self { reply, ..Self::resume(state, record, claimed) }
    }

    /// Takes steps until nothing is left to do now. What remains is postponed, for a sweeper.
    pub async fn drive(&mut self) -> Result<(), Interrupted> {
        for _ in 0..MAX_STEPS {
            let outcome = match self.next_step() {
                Step::HoldSeats => hold_seats::run(self).await?,
                Step::GiveUpHold => give_up_hold::run(self).await?,
                Step::ConfirmCharge => confirm_charge::run(self).await?,
                Step::FetchCharge => fetch_charge::run(self).await?,
                Step::CancelCharge => cancel_charge::run(self).await?,
                Step::FailAttempt => fail_attempt::run(self).await?,
                Step::ConfirmSeats => confirm_seats::run(self).await?,
                Step::RenewReservation => renew_reservation::run(self).await?,
                Step::HoldAgain => hold_again::run(self).await?,
                Step::ConfirmBooking => confirm_booking::run(self).await?,
                Step::EndWithoutSeats => end_without_seats::run(self).await?,
                Step::ExpireHold => expire_hold::run(self).await?,
                Step::ReleaseSeats => release_seats::run(self).await?,
                Step::Refund => refund::run(self).await?,
                Step::Postpone => break,
                Step::Done => return Ok(()),
            };
            match outcome {
                StepOutcome::Stored(record) => self.record = *record,
                StepOutcome::Learned(known) => self.known = known,
                StepOutcome::Stale => self.reload().await?,
            }
        }
        self.state.store.postpone_saga(self.claimed).await?;
        self.state.sweep.notify_one();
        Ok(())
    }

    fn next_step(&self) -> Step {
        next_step(&self.record.saga(self.known, self.claimed.attempt, self.claimed.refund), self.record.read_at)
    }

    async fn reload(&mut self) -> Result<(), Interrupted> {
        let found = self.state.store.find_saga(self.record.booking.id).await?;
        let record = found.ok_or(Interrupted::Inconsistent("a booking vanished"))?;
        let attempt = |record: &SagaRecord| record.attempt.as_ref().map(|attempt| attempt.id);
        let same_reservation = record.booking.reservation_id == self.record.booking.reservation_id;
        let same_attempt = attempt(&record) == attempt(&self.record);
        let failed = record.attempt.as_ref().is_some_and(Payment::has_failed);
        if same_attempt && failed && self.known.charge == KnownCharge::Succeeded {
            // An attempt is stored as failed only when it can never charge, so there is no safe way to continue.
            tracing::error!(booking_id = record.booking.id, "the gateway charged a payment that was stored as failed");
            return Err(Interrupted::Inconsistent("the gateway charged a failed payment"));
        }
        self.known = self.known.kept(same_reservation, same_attempt);
        // Another request started the attempt, and has its lease.
        self.claimed.attempt &= same_attempt;
        self.record = record;
        Ok(())
    }

    /// Commits what a step wrote, with the answer of the request if nothing is left to do for it.
    async fn commit(&self, mut unit: UnitOfWork, stored: SagaRecord) -> Result<StepOutcome, Interrupted> {
        let record = stored.or(&self.record);
        let next = next_step(&record.saga(self.known, self.claimed.attempt, self.claimed.refund), record.read_at);
        let reply = self.reply.as_ref().filter(|_| next == Step::Done);
        let mut answered = None;
        if let Some(Reply { request, respond }) = reply
            && let (Some(answer), _) = StoredAnswer::of(respond(&record)).await
        {
            unit.store_answer(request, &answer).await?;
            answered = Some(request);
        }
        unit.commit().await?;
        if let Some(request) = answered {
            request.mark_answered();
        }
        Ok(StepOutcome::Stored(Box::new(record)))
    }

    fn learned(&self, change: impl FnOnce(&mut Known)) -> StepOutcome {
        let mut known = self.known;
        change(&mut known);
        StepOutcome::Learned(known)
    }

    /// event-service gave no usable answer.
    fn event_service_silent(&mut self, cause: impl Into<anyhow::Error>) -> StepOutcome {
        let cause = cause.into();
        tracing::warn!(booking_id = self.record.booking.id, error = format!("{cause:#}"), "event-service unavailable");
        self.unavailable = Some(cause);
        self.learned(|known| known.event_service_silent = true)
    }

    /// The gateway told the state of the charge.
    fn charge_learned(&mut self, charge: &Charge) -> StepOutcome {
        if let Some(reason) = &charge.decline {
            self.failure = (CARD_DECLINED, reason.clone());
        }
        let state = match charge.state {
            ChargeState::Open => KnownCharge::Open,
            ChargeState::Processing => KnownCharge::Processing,
            ChargeState::Succeeded => KnownCharge::Succeeded,
            ChargeState::Cancelled => KnownCharge::Cancelled,
        };
        if state == KnownCharge::Succeeded && self.known.charge != state {
            count_payment("charged");
        }
        self.learned(|known| known.charge = state)
    }

    /// The attempt whose money the next step decides about.
    fn paid_by(&self) -> Option<i32> {
        self.record
            .attempt
            .as_ref()
            .filter(|attempt| attempt.is_active() && attempt.settled_at.is_none())
            .map(|attempt| attempt.id)
    }

    fn refund(&self) -> Result<&Refund, Interrupted> {
        self.record.refund.as_ref().ok_or(Interrupted::Inconsistent("a refund vanished"))
    }

    /// The attempt that the next step is about.
    fn attempt(&self) -> Result<&Payment, Interrupted> {
        self.record.attempt.as_ref().ok_or(Interrupted::Inconsistent("a payment vanished"))
    }

    /// The charge that the next step is about.
    fn charge_id(&self) -> Result<String, Interrupted> {
        let charge_id = self.attempt()?.gateway_id.clone();
        charge_id.ok_or(Interrupted::Inconsistent("a payment has no charge"))
    }
}

/// Counts a step of a booking, after its commit. docs/operations.md lists the outcomes.
fn count_booking(outcome: &'static str) {
    metrics::counter!("eventplatform_bookings_total", "outcome" => outcome).increment(1);
}

/// Counts what became of an attempt to pay: a charge when the gateway tells of it, a failure after its commit.
fn count_payment(outcome: &'static str) {
    metrics::counter!("eventplatform_payments_total", "outcome" => outcome).increment(1);
}
