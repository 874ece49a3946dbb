//! Getting the platform to a failpoint: most are on everybody's way, some need a story of their own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventplatform_tests::fleet::Peer;
use eventplatform_tests::link::Condition;
use eventplatform_tests::people::{GOOD_CARD, LATE_CARD, NewEvent, Person};
use eventplatform_tests::programs::Program;
use eventplatform_tests::wait;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::workload::Workload;
use crate::world::{World, number};

/// A user story that leads to a failpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Provocation {
    /// What users do all the time.
    Everyday,
    /// Somebody registers.
    Registration,
    /// An event is created under a key.
    NewEvent,
    /// An event is booked, changed and called off.
    EventLife,
    /// A hold ends early.
    HoldEnds,
    /// A hold ends early, and event-service finds it first.
    HoldIsSwept,
    /// The gateway fails to confirm.
    GatewayFails,
    /// A booking is cancelled, and the gateway does not refund at first.
    RefundFails,
    /// A payment settles after its hold ended; seats are left.
    PaidLate,
    /// A payment settles after its hold ended and the last seat went to somebody else.
    PaidTooLate,
    /// A payment settles after its event was called off.
    PaidForNothing,
    /// An event is called off while its seats are being taken.
    CalledOffWhileHeld,
    /// A free event is called off between hold and sale, and RabbitMQ does not tell.
    CalledOffBeforeSold,
    /// event-service is away for as long as a booking waits.
    NoSeatsInTime,
    /// Somebody registers, books, and deletes the account.
    SomebodyLeaves,
    /// RabbitMQ does not take the messages of booking-service and event-service for a while.
    RabbitMqAway,
    /// A booking is paid again after it was paid.
    PaidTwice,
}

impl Provocation {
    /// The one that leads to that failpoint, in that program.
    pub(crate) fn of(point: &str, program: Program) -> Self {
        match point {
            "booking.hold.orphaned" => Self::CalledOffWhileHeld,
            "booking.hold.given_up" => Self::NoSeatsInTime,
            "booking.release.stored" => Self::CalledOffBeforeSold,
            "booking.pay.fenced" | "booking.pay.failed" => Self::GatewayFails,
            "booking.settle.renewed" | "booking.settle.held_again" | "booking.sweeper.claimed" => Self::PaidLate,
            "booking.settle.lost" => Self::PaidTooLate,
            "booking.release.released" => Self::PaidForNothing,
            "booking.refund.renewed" | "booking.refund.asked" | "booking.refund.stored" => Self::RefundFails,
            "relay.claimed" | "relay.marked" if program != Program::User => Self::RabbitMqAway,
            point if point.starts_with("idempotency") && program == Program::Booking => Self::PaidTwice,
            "booking.expire.released" | "booking.expire.stored" => Self::HoldEnds,
            "event.sweeper.listed" => Self::HoldIsSwept,
            "booking.consumer.account_deleted"
            | "booking.account.forgotten"
            | "event.consumer.account_deleted"
            | "event.sweeper.events_cancelled" => Self::SomebodyLeaves,
            "bus.received" | "bus.handled" if program == Program::Event => Self::SomebodyLeaves,
            point if point.starts_with("booking.consumer") => Self::EventLife,
            point if program == Program::User && !point.starts_with("idempotency") => Self::SomebodyLeaves,
            _ if program == Program::User => Self::Registration,
            point if point.starts_with("idempotency") && program == Program::Event => Self::NewEvent,
            point if point.starts_with("relay") && program == Program::Event => Self::EventLife,
            point if point.starts_with("bus") && program != Program::Notification => Self::EventLife,
            _ => Self::Everyday,
        }
    }

    /// Runs the story once. The caller repeats it, so a failure on the way does no harm.
    pub(crate) async fn tell(self, world: &World, work: &Arc<Workload>, rng: &mut StdRng) -> Result<()> {
        let person = work.people.choose(rng).context("nobody is there")?.clone();
        let story = Story { world, work, person };
        let told = match self {
            Self::Everyday => std::future::pending().await,
            Self::Registration => {
                work.register(rng).await;
                Ok(())
            }
            Self::NewEvent => {
                let body = NewEvent::free(9).body();
                work.insist(&work.organizer, "/api/events", &body, rng).await.map(drop).context("no answer")
            }
            Self::EventLife => story.event_life(rng).await,
            Self::HoldEnds => story.hold_ends(Duration::ZERO, rng).await,
            Self::HoldIsSwept => story.hold_ends(SWEPT_WITHIN, rng).await,
            Self::GatewayFails => story.gateway_fails(rng).await,
            Self::RefundFails => story.refund_fails(rng).await,
            Self::PaidLate => story.paid_late(50, rng).await,
            Self::PaidTooLate => story.paid_late(1, rng).await,
            Self::PaidForNothing => story.paid_for_nothing(rng).await,
            Self::CalledOffWhileHeld => story.called_off_while_held(rng).await,
            Self::CalledOffBeforeSold => story.called_off_before_sold(rng).await,
            Self::NoSeatsInTime => story.no_seats_in_time(rng).await,
            Self::SomebodyLeaves => story.somebody_leaves(rng).await,
            Self::RabbitMqAway => story.rabbitmq_away(rng).await,
            Self::PaidTwice => story.paid_twice(rng).await,
        };
        // So that a story that fails at once does not keep the machine busy.
        sleep(Duration::from_millis(200)).await;
        told
    }

    /// Puts right what a story that was interrupted left behind.
    pub(crate) async fn forget(self, world: &World) -> Result<()> {
        match self {
            Self::GatewayFails | Self::RefundFails => world.gateway_faults(&json!([])).await,
            Self::CalledOffWhileHeld | Self::CalledOffBeforeSold | Self::NoSeatsInTime | Self::RabbitMqAway => {
                world.links.open_all();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// booking-service hears of a deletion within this time.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

/// event-service looks for holds that ended within this time.
const SWEPT_WITHIN: Duration = Duration::from_secs(11);

const TO_EVENT: (Program, Peer) = (Program::Booking, Peer::Program(Program::Event));

struct Story<'a> {
    world: &'a World,
    work: &'a Arc<Workload>,
    person: Person,
}

impl Story<'_> {
    async fn event(&self, event: NewEvent) -> Result<String> {
        self.work.organizer.creates(event).await
    }

    async fn books(&self, event_id: &str, rng: &mut StdRng) -> Result<Value> {
        let body = json!({ "event_id": event_id, "seats": 1 });
        let booked = self.work.insist(&self.person, "/bookings", &body, rng).await;
        let (key, reply) = booked.context("no answer")?;
        let booking = reply.expect(reqwest::StatusCode::CREATED)?;
        self.work.journal.booked(&key, &booking);
        Ok(booking)
    }

    async fn pays(&self, booking: &Value, card: &str, rng: &mut StdRng) {
        self.work.pay(&self.person, booking, card, rng).await;
    }

    async fn calls_off(&self, event_id: &str) {
        self.work.edit(event_id, &json!({ "status": "cancelled" })).await;
    }

    async fn event_life(&self, rng: &mut StdRng) -> Result<()> {
        let event_id = self.event(NewEvent::free(9)).await?;
        self.books(&event_id, rng).await?;
        self.work.edit(&event_id, &json!({ "title": "Another title" })).await;
        self.calls_off(&event_id).await;
        Ok(())
    }

    /// booking-service learns of the end after `later`.
    async fn hold_ends(&self, later: Duration, rng: &mut StdRng) -> Result<()> {
        let event_id = self.event(NewEvent::priced(9, 500)).await?;
        let booking = self.books(&event_id, rng).await?;
        self.world.end_hold(&booking).await?;
        sleep(later).await;
        self.world.expire(number(&booking)).await
    }

    async fn gateway_fails(&self, rng: &mut StdRng) -> Result<()> {
        let rules = json!([{ "match": { "operation": "confirm" }, "times": 2, "action": "error_500" }]);
        self.world.gateway_faults(&rules).await?;
        let event_id = self.event(NewEvent::priced(9, 500)).await?;
        let booking = self.books(&event_id, rng).await?;
        self.pays(&booking, GOOD_CARD, rng).await;
        Ok(())
    }

    async fn refund_fails(&self, rng: &mut StdRng) -> Result<()> {
        let event_id = self.event(NewEvent::priced(9, 500)).await?;
        let booking = self.books(&event_id, rng).await?;
        self.pays(&booking, GOOD_CARD, rng).await;
        let rules = json!([{ "match": { "operation": "refund" }, "times": 2, "action": "error_500" }]);
        self.world.gateway_faults(&rules).await?;
        self.work.call_off(&self.person, &booking, rng).await;
        sleep(Duration::from_secs(3)).await;
        Ok(())
    }

    /// The payment settles seconds later; by then the hold is over, and of `seats` seats one more is taken.
    async fn paid_late(&self, seats: u32, rng: &mut StdRng) -> Result<()> {
        let event_id = self.event(NewEvent::priced(seats, 500)).await?;
        let booking = self.books(&event_id, rng).await?;
        self.pays(&booking, LATE_CARD, rng).await;
        self.world.end_hold(&booking).await?;
        for _ in 0..20 {
            let body = json!({ "event_id": event_id, "seats": 1 });
            let Some((key, reply)) = self.work.insist(&self.person, "/bookings", &body, rng).await else { continue };
            if reply.status == 201 {
                self.work.journal.booked(&key, &reply.body);
                break;
            }
            sleep(Duration::from_millis(150)).await;
        }
        sleep(Duration::from_secs(crate::world::LATE_SECONDS + 2)).await;
        Ok(())
    }

    async fn paid_for_nothing(&self, rng: &mut StdRng) -> Result<()> {
        let event_id = self.event(NewEvent::priced(9, 500)).await?;
        let booking = self.books(&event_id, rng).await?;
        self.pays(&booking, LATE_CARD, rng).await;
        self.calls_off(&event_id).await;
        sleep(Duration::from_secs(crate::world::LATE_SECONDS + 2)).await;
        Ok(())
    }

    async fn called_off_while_held(&self, rng: &mut StdRng) -> Result<()> {
        let event_id = self.event(NewEvent::priced(9, 500)).await?;
        self.world.links.set(TO_EVENT.0, TO_EVENT.1, Condition::Delayed(Duration::from_millis(1700)));
        let call_off = async {
            sleep(Duration::from_millis(2000)).await;
            self.calls_off(&event_id).await;
        };
        tokio::join!(self.books(&event_id, rng), call_off).0.ok();
        self.world.links.set(TO_EVENT.0, TO_EVENT.1, Condition::Open);
        Ok(())
    }

    async fn called_off_before_sold(&self, rng: &mut StdRng) -> Result<()> {
        let event_id = self.event(NewEvent::free(9)).await?;
        self.world.links.set(Program::Event, Peer::RabbitMq, Condition::Cut);
        self.world.links.set(TO_EVENT.0, TO_EVENT.1, Condition::Delayed(Duration::from_millis(900)));
        let call_off = async {
            sleep(Duration::from_millis(1500)).await;
            self.calls_off(&event_id).await;
        };
        tokio::join!(self.books(&event_id, rng), call_off).0.ok();
        self.world.links.open_all();
        Ok(())
    }

    async fn rabbitmq_away(&self, rng: &mut StdRng) -> Result<()> {
        for program in [Program::Booking, Program::Event] {
            self.world.links.set(program, Peer::RabbitMq, Condition::Cut);
        }
        let event_id = self.event(NewEvent::free(9)).await?;
        self.books(&event_id, rng).await.ok();
        self.calls_off(&event_id).await;
        sleep(Duration::from_secs(1)).await;
        for program in [Program::Booking, Program::Event] {
            self.world.links.set(program, Peer::RabbitMq, Condition::Open);
        }
        sleep(Duration::from_secs(2)).await;
        Ok(())
    }

    async fn paid_twice(&self, rng: &mut StdRng) -> Result<()> {
        let event_id = self.event(NewEvent::priced(9, 500)).await?;
        let booking = self.books(&event_id, rng).await?;
        self.pays(&booking, GOOD_CARD, rng).await;
        self.pays(&booking, GOOD_CARD, rng).await;
        Ok(())
    }

    async fn somebody_leaves(&self, rng: &mut StdRng) -> Result<()> {
        let user_id = self.work.leave(rng).await.context("nobody was told that the account is deleted")?;
        wait::until("booking-service has heard of it", HEARD_WITHIN, async || {
            ensure!(self.world.end_settling(Some(user_id)).await? > 0, "not yet");
            Ok(())
        })
        .await
    }

    async fn no_seats_in_time(&self, rng: &mut StdRng) -> Result<()> {
        let event_id = self.event(NewEvent::free(9)).await?;
        self.world.links.set(TO_EVENT.0, TO_EVENT.1, Condition::Cut);
        let impatient = async {
            sleep(Duration::from_secs(1)).await;
            let sql = "update bookings set next_check_at = now() where status = 'Pending' and expires_at is null";
            sqlx::query(sql).execute(&self.world.bookings).await
        };
        let booking = self.books(&event_id, rng);
        // The sweeper, or the client who asks again, finds that the time is over.
        let waiting = async {
            impatient.await.ok();
            sleep(Duration::from_secs(12)).await;
        };
        tokio::select! { _ = booking => {}, () = waiting => {} }
        self.world.links.set(TO_EVENT.0, TO_EVENT.1, Condition::Open);
        Ok(())
    }
}
