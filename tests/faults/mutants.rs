//! Mutation tests of the fault suite: each guard that an invariant rests on is removed in turn, and the checker has to
//! report that invariant as violated. With all guards in place, the same stories violate none.
//!
//! The guards are whole in the sources. The programs here are built from a copy, to which the patches in
//! `tests/faults/mutants` are applied: `switch.patch` has them take the name of a guard at `/mutant` of the admin
//! listener, and the patch of that name leaves the guard out.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bson::doc;
use eventplatform_tests::paths;
use eventplatform_tests::people::{GOOD_CARD, NewEvent, Person};
use eventplatform_tests::programs::{Binaries, Program};
use eventplatform_tests::stack::Options;
use futures::future::try_join_all;
use platform::failpoint::{FaultConfig, Stall};
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::checker::{self, Violation, Watcher};
use crate::fault::Fault;
use crate::workload::{self, Workload};
use crate::world::{World, number};
use crate::{alone, say};

/// Longer than a request that was killed takes to be resumed.
const HOLD_SECONDS: u64 = 15;
/// Nothing is left to do within this time, or the guard's absence keeps it from ever being so.
const QUIET_LIMIT: Duration = Duration::from_secs(30);
/// All programs are compiled within this time, dependencies included.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);
/// Something is stuck after this.
const LIMIT: Duration = Duration::from_secs(1200);
/// How long a sweeper stalls.
const STALL_MS: u64 = 6000;
const TOLD_LIMIT: Duration = Duration::from_secs(10);

/// A guard, the program that it is taken from, and the invariant that rests on it.
const MUTANTS: [(&str, Program, u8); 19] = [
    // No more seats are held than are available.
    ("event.available", Program::Event, 1),
    // A reservation id takes seats once.
    ("event.hold_once", Program::Event, 1),
    // A released reservation is not confirmed.
    ("event.released_stays_released", Program::Event, 1),
    // Seats whose hold may be over are given back only if it is.
    ("event.only_expired", Program::Event, 2),
    // What holders of seats have to hear of an event is written with its change.
    ("event.outbox", Program::Event, 11),
    // A booking moves only from where it was read.
    ("booking.compare_and_set", Program::Booking, 12),
    // A booking is its owner's.
    ("booking.owner", Program::Booking, 13),
    // An attempt is failed only when its charge is cancelled at the gateway.
    ("booking.fence", Program::Booking, 4),
    // Seats are sold before a booking is called confirmed.
    ("booking.seats_before_confirmed", Program::Booking, 2),
    // What a holder has to be told is written with the change.
    ("booking.outbox", Program::Booking, 10),
    // A ticket is checked in only if it is as it was read.
    ("booking.check_in_once", Program::Booking, 16),
    // The same Idempotency-Key is the same operation.
    ("idempotency.same_operation", Program::Booking, 7),
    // A message is acknowledged after its work is committed.
    ("bus.ack_after_work", Program::Notification, 11),
    // A message counts as published when RabbitMQ has confirmed it.
    ("bus.publisher_confirms", Program::Booking, 11),
    // A message id is stored once.
    ("notification.once", Program::Notification, 10),
    // Notifications are their reader's.
    ("notification.owner", Program::Notification, 13),
    // The answer that is kept of a registration goes with the account.
    ("user.forget_answers", Program::User, 15),
    // The last ones leave a booking that nothing finishes: every later search for what is left to do takes its limit.
    // A charge has a name in the database before it moves money.
    ("booking.name_before_charge", Program::Booking, 4),
    // One payment of a booking is under way or has been made.
    ("booking.one_live_payment", Program::Booking, 4),
];

#[tokio::test(flavor = "multi_thread")]
async fn without_any_of_its_guards_the_platform_is_found_out() -> Result<()> {
    Box::pin(alone(BUILD_LIMIT + LIMIT, async {
        let began = Instant::now();
        say("building the mutants");
        let mutants = Binaries::mutants().await?;
        say(&format!("the mutants are built after {:.0} s", began.elapsed().as_secs_f64()));
        timeout(LIMIT, take_guards_away(mutants)).await.context("something is stuck")?
    }))
    .await
}

async fn take_guards_away(mutants: Binaries) -> Result<()> {
    let options = Options { binaries: Some(mutants), ..Options::default() };
    let world = Arc::new(World::start_with(HOLD_SECONDS, options).await?);
    let work = Workload::prepare(&world.stack, 2).await?;
    // MongoDB would refuse counters below 0: a second guard behind the first.
    let lax = doc! { "collMod": "events", "validator": {}, "validationLevel": "off" };
    world.events.run_command(lax).await.context("the validator stays")?;
    let watcher = Watcher::new();
    let mut lab = Lab { watcher, person: work.people[0].clone(), world, work, rng: StdRng::seed_from_u64(1) };

    for (guard, program, _) in MUTANTS {
        lab.tells(guard, program).await.with_context(|| guard.to_owned())?;
    }
    let mut known = lab.violations().await?;
    ensure!(known.is_empty(), "with all guards in place: {known:?}");

    let mut survivors = Vec::new();
    for (guard, program, invariant) in MUTANTS {
        let began = Instant::now();
        lab.takes_away(guard, program).await?;
        if guard == "booking.one_live_payment" {
            // Two requests at once both find no attempt; between them the index decides.
            let index = sqlx::query("drop index payments_one_live").execute(&lab.world.bookings);
            index.await.context("the index stays")?;
        }
        lab.tells(guard, program).await.with_context(|| guard.to_owned())?;
        let found = lab.violations().await?;
        let new: Vec<_> = found.iter().filter(|violation| !known.contains(violation)).collect();
        let caught = new.iter().find(|violation| violation.invariant() == invariant);
        let verdict = caught.map_or_else(|| format!("SURVIVES: {new:?}"), ToString::to_string);
        say(&format!("without {guard}, after {:.0} s: {verdict}", began.elapsed().as_secs_f64()));
        if caught.is_none() {
            survivors.push(guard);
        }
        known.extend(found);
        lab.world.mend().await?;
        lab.takes_away("", program).await?;
    }
    ensure!(survivors.is_empty(), "mutants that the checker did not detect: {survivors:?}");
    Ok(())
}

#[test]
fn every_mutant_has_its_patch() {
    let patches = fs::read_dir(paths::workspace().join("tests/faults/mutants")).unwrap();
    let patches: BTreeSet<_> = patches.map(|patch| patch.unwrap().file_name().into_string().unwrap()).collect();

    let listed = MUTANTS.iter().map(|(guard, ..)| *guard).chain(["switch"]);
    assert_eq!(listed.map(|name| format!("{name}.patch")).collect::<BTreeSet<_>>(), patches);
}

struct Lab {
    world: Arc<World>,
    watcher: Watcher,
    work: Arc<Workload>,
    person: Person,
    rng: StdRng,
}

impl Lab {
    /// Has the replicas of a program leave out that guard until they end; the empty name stands for none.
    async fn takes_away(&self, guard: &'static str, program: Program) -> Result<()> {
        for replica in self.world.stack.replicas(program) {
            let url = format!("http://{}/mutant", replica.admin);
            self.world.http.put(url).body(guard).send().await?.error_for_status()?;
        }
        Ok(())
    }

    /// Tells the story that needs the guard.
    async fn tells(&mut self, guard: &str, program: Program) -> Result<()> {
        // An earlier story may have left orders that nobody carried out.
        self.world.order(program, &FaultConfig::default()).await?;
        match guard {
            "event.available" => self.wants_more_than_there_is().await,
            "event.hold_once" => self.is_killed_holding().await,
            "event.released_stays_released" => self.pays_late().await,
            "event.only_expired" => self.pays_before_its_sweeper_looks().await,
            "event.outbox" => self.calls_off_an_event().await,
            "booking.compare_and_set" => self.pays_while_it_expires().await,
            "booking.one_live_payment" => self.pays_twice().await,
            "booking.owner" | "notification.owner" => self.looks_at_what_is_not_theirs().await,
            "booking.name_before_charge" | "booking.seats_before_confirmed" => self.pays_at_once().await,
            "booking.fence" => self.pays_a_slow_gateway().await,
            "booking.outbox" => self.books(NewEvent::free(5)).await.map(drop),
            "booking.check_in_once" => self.scans_at_two_doors().await,
            "idempotency.same_operation" => self.asks_twice().await,
            "bus.ack_after_work" => self.kills_the_listener().await,
            "bus.publisher_confirms" => self.unbinds_the_queue().await,
            "notification.once" => self.is_told_twice().await,
            "user.forget_answers" => self.work.leave(&mut self.rng).await.map(drop).context("nobody has left"),
            other => anyhow::bail!("no story for {other}"),
        }
    }

    async fn violations(&mut self) -> Result<Vec<Violation>> {
        // Without a guard there may be something left to do for ever.
        checker::quiet(&self.world, &self.work.journal, QUIET_LIMIT).await.ok();
        checker::check(&self.world, &self.work.journal, &mut self.watcher, TOLD_LIMIT).await
    }

    async fn books(&mut self, event: NewEvent) -> Result<Value> {
        let event_id = self.work.organizer.creates(event).await?;
        self.books_of(&event_id).await
    }

    async fn books_of(&mut self, event_id: &str) -> Result<Value> {
        let body = json!({ "event_id": event_id, "seats": 1 });
        let booked = self.work.insist(&self.person, "/bookings", &body, &mut self.rng).await;
        let (key, reply) = booked.context("no answer")?;
        let booking = reply.expect(StatusCode::CREATED)?;
        self.work.journal.booked(&key, &booking);
        Ok(booking)
    }

    /// Once, whatever the answer.
    async fn pays(&self, booking: &Value, card: &str) {
        let body = json!({ "booking_id": booking["id"], "payment_method": card });
        let request =
            self.person.request(Method::POST, "/payments").header("idempotency-key", Uuid::new_v4().to_string());
        request.json(&body).send().await.ok();
    }

    async fn wants_more_than_there_is(&mut self) -> Result<()> {
        let event_id = self.work.organizer.creates(NewEvent::free(2)).await?;
        for _ in 0..2 {
            self.books_of(&event_id).await?;
        }
        self.books_of(&event_id).await.ok();
        Ok(())
    }

    /// Whoever resumes asks for the same reservation again.
    async fn is_killed_holding(&mut self) -> Result<()> {
        let orders = FaultConfig { kill_at: Some("booking.hold.held".to_owned()), ..FaultConfig::default() };
        self.world.order(Program::Booking, &orders).await?;
        let world = self.world.clone();
        let (booked, revived) = tokio::join!(self.books(NewEvent::free(5)), world.revive(Program::Booking));
        revived.and(booked.map(drop))
    }

    /// event-service has released the seats when the payment comes, and the booking does not know.
    async fn pays_late(&mut self) -> Result<()> {
        let booking = self.books(NewEvent::priced(5, 900)).await?;
        let id: String = sqlx::query_scalar(
            "update bookings set expires_at = now() + interval '1 minute', next_check_at = now() + interval '1 minute'
             where id = $1 returning reservation_id::text",
        )
        .bind(number(&booking))
        .fetch_one(&self.world.bookings)
        .await?;
        self.world.end_hold(&booking).await?;
        let released = doc! { "_id": id, "state": "released" };
        eventplatform_tests::wait::until("the seats are released", QUIET_LIMIT, async || {
            let reservations = self.world.events.collection::<bson::Document>("reservations");
            ensure!(reservations.find_one(released.clone()).await?.is_some(), "not yet");
            Ok(())
        })
        .await?;
        self.pays(&booking, GOOD_CARD).await;
        Ok(())
    }

    async fn calls_off_an_event(&mut self) -> Result<()> {
        let event_id = self.work.organizer.creates(NewEvent::free(5)).await?;
        self.books_of(&event_id).await?;
        self.work.edit(&event_id, &json!({ "status": "cancelled" })).await;
        Ok(())
    }

    /// Each payment under a key of its own, while the gateway thinks about the first one.
    async fn pays_twice(&mut self) -> Result<()> {
        let booking = self.books(NewEvent::priced(5, 900)).await?;
        let rules = json!([{ "match": { "operation": "confirm" }, "times": 2, "action": { "delay_ms": 1500 } }]);
        self.world.gateway_faults(&rules).await?;
        tokio::join!(self.pays(&booking, GOOD_CARD), self.pays(&booking, GOOD_CARD));
        Ok(())
    }

    async fn looks_at_what_is_not_theirs(&mut self) -> Result<()> {
        let booking = self.books(NewEvent::free(5)).await?;
        self.work.peek_at(&self.person, &booking).await;
        Ok(())
    }

    async fn pays_at_once(&mut self) -> Result<()> {
        let booking = self.books(NewEvent::priced(5, 900)).await?;
        self.pays(&booking, GOOD_CARD).await;
        Ok(())
    }

    /// The sweeper that ended the hold stalls before it says so, and meanwhile the booking wins seats back.
    async fn pays_while_it_expires(&mut self) -> Result<()> {
        let booking = self.books(NewEvent::priced(5, 900)).await?;
        self.world.end_hold(&booking).await?;
        self.pays_while_a_sweeper_stalls(&booking, "booking.expire.released").await
    }

    /// The sweeper took the booking for one that may have expired, and comes to it when it is confirmed.
    async fn pays_before_its_sweeper_looks(&mut self) -> Result<()> {
        let booking = self.books(NewEvent::priced(5, 900)).await?;
        self.pays_while_a_sweeper_stalls(&booking, "booking.sweeper.claimed").await?;
        self.world.stand_down(Program::Booking).await
    }

    async fn pays_while_a_sweeper_stalls(&self, booking: &Value, point: &str) -> Result<()> {
        let id = number(booking);
        self.postpone_all_but(id).await?;
        let stall = Stall { point: point.to_owned(), ms: STALL_MS };
        self.world.order(Program::Booking, &FaultConfig { stall_at: Some(stall), ..FaultConfig::default() }).await?;
        self.world.expire(id).await?;
        self.is_claimed_by_one_that_stalls(id).await?;
        let over = Instant::now() + Duration::from_millis(STALL_MS + 1000);
        // The sweeper took the hold for over; whoever pays has time left.
        let sql = "update bookings set expires_at = now() + interval '1 minute' where id = $1 and status = 'Pending'";
        sqlx::query(sql).bind(id).execute(&self.world.bookings).await?;
        self.pays(booking, GOOD_CARD).await;
        sleep_until(over).await;
        Ok(())
    }

    /// Keeps the sweepers from what earlier mutants left undone, or else they would stall there.
    async fn postpone_all_but(&self, id: i32) -> Result<()> {
        for sql in [
            "update bookings set next_check_at = now() + interval '1 minute'
             where id <> $1 and (status = 'Pending' or release_pending)",
            "update payments set next_check_at = now() + interval '1 minute'
             where booking_id <> $1 and (state = 'started' or (state = 'succeeded' and settled_at is null))",
            "update refunds set next_check_at = now() + interval '1 minute'
             where booking_id <> $1 and state = 'pending'",
        ] {
            sqlx::query(sql).bind(id).execute(&self.world.bookings).await?;
        }
        Ok(())
    }

    async fn is_claimed_by_one_that_stalls(&self, id: i32) -> Result<()> {
        let limit = Duration::from_secs(20);
        eventplatform_tests::wait::until("its sweeper stalls", limit, async || {
            let sql = "select coalesce(lease_until > now(), false) from bookings where id = $1";
            let claimed: bool = sqlx::query_scalar(sql).bind(id).fetch_one(&self.world.bookings).await?;
            let replicas = self.world.stack.replicas(Program::Booking).iter();
            let orders = try_join_all(replicas.map(|replica| replica.orders(&self.world.http))).await?;
            ensure!(claimed && orders.iter().any(|orders| orders.stall_at.is_none()), "none has yet");
            Ok(())
        })
        .await
    }

    async fn pays_a_slow_gateway(&mut self) -> Result<()> {
        // Both calls of the charge, the second made while the first has no answer, come later than the service waits.
        let rules = json!([{ "match": { "operation": "confirm" }, "times": 2, "action": { "delay_ms": 8000 } }]);
        self.world.gateway_faults(&rules).await?;
        self.pays_at_once().await?;
        // The charge that was given up comes through.
        sleep(Duration::from_secs(3)).await;
        Ok(())
    }

    /// Both scans find the ticket valid, and wait for its booking, which somebody else has locked.
    async fn scans_at_two_doors(&mut self) -> Result<()> {
        let work = self.work.clone();
        let booking = self.books(workload::tonight()).await?;
        let code =
            work.ticket_code(&self.person, &booking, &mut self.rng).await.context("the booking has no ticket")?;
        let mut locking = self.world.bookings.begin().await?;
        sqlx::query("select from bookings where id = $1 for update")
            .bind(number(&booking))
            .execute(&mut *locking)
            .await?;
        let bookings = self.world.bookings.clone();
        let release = async {
            eventplatform_tests::wait::until("both scans wait", QUIET_LIMIT, async || {
                let sql = "select count(*) from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock'
                               and query like '%update tickets%'";
                let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&bookings).await?;
                ensure!(waiting == 2, "{waiting} wait");
                Ok(())
            })
            .await?;
            locking.rollback().await.context("the lock stays")
        };
        let (shown, released) = tokio::join!(work.show_at_two_doors(&booking, &code, &mut self.rng), release);
        released.and(shown.context("a scan got no answer"))
    }

    async fn asks_twice(&mut self) -> Result<()> {
        let event_id = self.work.organizer.creates(NewEvent::free(5)).await?;
        let (key, body) = (Uuid::new_v4().to_string(), json!({ "event_id": event_id, "seats": 1 }));
        for _ in 0..2 {
            let booking = self.person.post_once("/bookings", &key, &body).await?.expect(StatusCode::CREATED)?;
            self.work.journal.booked(&key, &booking);
        }
        Ok(())
    }

    async fn kills_the_listener(&mut self) -> Result<()> {
        let kill_at = Some("notification.store.counted".to_owned());
        self.world.order(Program::Notification, &FaultConfig { kill_at, ..FaultConfig::default() }).await?;
        self.books(NewEvent::free(5)).await?;
        self.world.revive(Program::Notification).await
    }

    async fn unbinds_the_queue(&mut self) -> Result<()> {
        // So that each relay has its connection, and declares nothing anew.
        for _ in 0..3 {
            self.books(NewEvent::free(5)).await?;
        }
        eventplatform_tests::wait::until("the messages are published", QUIET_LIMIT, async || {
            let left = checker::bookings::unfinished(&self.world.bookings).await?;
            ensure!(left.iter().all(|(what, count)| *what != "messages" || *count == 0), "left to do: {left:?}");
            Ok(())
        })
        .await?;
        Fault::Unbound.strike(&self.world, &self.work).await?;
        self.books(NewEvent::free(5)).await.map(drop)
    }

    /// The relay dies between publishing and marking, so that the message is published again.
    async fn is_told_twice(&mut self) -> Result<()> {
        let orders = FaultConfig { kill_at: Some("relay.published".to_owned()), ..FaultConfig::default() };
        self.world.order(Program::Booking, &orders).await?;
        // Both may be killed: the answer comes when they are up.
        let event_id = self.work.organizer.creates(NewEvent::free(5)).await?;
        let body = json!({ "event_id": event_id, "seats": 1 });
        self.person.post_once("/bookings", &Uuid::new_v4().to_string(), &body).await.ok();
        self.world.revive(Program::Booking).await
    }
}
