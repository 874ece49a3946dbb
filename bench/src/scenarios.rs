//! What is measured.

use std::time::{Duration, Instant};

use anyhow::ensure;
use eventplatform_tests::{api, programs::Program};
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

use crate::{
    load::{Run, closed_loop, count},
    process::{self, FsyncCounter},
    report::Report,
    world::{PASSWORD, World, attendee_email},
};

/// Numbers of clients that compete for one hot event.
const HOT_CLIENTS: [usize; 4] = [1, 8, 32, 128];
/// Clients of the other scenarios.
const CLIENTS: usize = 16;
/// Events that bookings are spread over.
const EVENTS: usize = 1_000;
/// How often a program is started to see how long it takes.
const STARTS: usize = 5;
/// Paid bookings whose fsyncs are counted.
const COUNTED_BOOKINGS: u64 = 50;

/// Resident memory of every process.
pub(crate) async fn memory(world: &World, report: &mut Report, when: &str) {
    let Ok(processes) = world.processes().await else { return };
    let rows = processes.into_iter().map(|(name, pids)| (name, pids.into_iter().map(process::resident_mib).sum()));
    report.memory(when, rows.collect());
}

/// How long each service takes from its start to its first ready answer, servers answering.
pub(crate) async fn start_times(world: &World, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("start times");
    let http = api::http_client();
    for program in [Program::User, Program::Event, Program::Booking, Program::Notification] {
        let replica = world.stack.program(program);
        let mut times_ms = Vec::new();
        for _ in 0..STARTS {
            replica.kill().await;
            let started = Instant::now();
            replica.up().await?;
            while !replica.is_ready(&http).await {
                ensure!(started.elapsed() < Duration::from_secs(20), "{} does not become ready", program.name());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            times_ms.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        report.start_time(program.name(), times_ms);
    }
    Ok(())
}

/// Holds on one event: in groups and one by one, in alternating runs.
pub(crate) async fn hot_event(
    grouped: &World,
    single: &World,
    length: Duration,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    for clients in HOT_CLIENTS {
        let (mut in_groups, mut one_by_one) = (Run::default(), Run::default());
        for round in 1..=rounds {
            eprintln!("one hot event, {clients} clients, round {round} of {rounds}");
            in_groups = in_groups.and(holds(grouped, clients, length).await?);
            one_by_one = one_by_one.and(holds(single, clients, length).await?);
        }
        report.hot_event(clients, &in_groups, &one_by_one);
    }
    Ok(())
}

/// Each run has an event of its own, so that the ledger of one run does not slow the next.
async fn holds(world: &World, clients: usize, length: Duration) -> anyhow::Result<Run> {
    let event = world.events(1, 0).await?.remove(0);
    let (caller, path) = (world.as_booking_service(), format!("/api/events/{event}/decrease_capacity"));
    let run = closed_loop(clients, length, |_, _| async {
        let hold = json!({"reservation_id": Uuid::new_v4(), "seats": 1, "hold_seconds": 3600});
        caller.put(&path, &hold).await?.expect(StatusCode::OK).map(drop)
    });
    Ok(run.await)
}

/// Reading one event, and listing.
pub(crate) async fn reads(world: &World, length: Duration, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("reading and listing events");
    let event = world.events(20, 1_500).await?.remove(0);
    let reader = world.at(Program::Event);
    let path = format!("/api/events/{event}");
    let before = world.cpu().await?;
    let run = closed_loop(CLIENTS, length, |_, _| async { reader.get(&path).await?.expect(StatusCode::OK).map(drop) });
    let run = run.await;
    report.scenario("read one event", CLIENTS, &run, &before, &world.cpu().await?);

    let admin = reader.at(format!("http://{}", world.stack.program(Program::Event).admin));
    let before = world.cpu().await?;
    let run =
        closed_loop(CLIENTS, length, |_, _| async { admin.get("/livez").await?.expect(StatusCode::OK).map(drop) });
    let run = run.await;
    report.scenario("the same, of a constant (what HTTP alone allows)", CLIENTS, &run, &before, &world.cpu().await?);

    let before = world.cpu().await?;
    let run = closed_loop(CLIENTS, length, |_, _| async {
        reader.get("/api/events?limit=20").await?.expect(StatusCode::OK).map(drop)
    });
    let run = run.await;
    report.scenario("list 20 events", CLIENTS, &run, &before, &world.cpu().await?);
    Ok(())
}

/// Logging in, which is argon2id and little else.
pub(crate) async fn logins(world: &World, length: Duration, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("logging in");
    let visitor = world.at(Program::User);
    let before = world.cpu().await?;
    let run = closed_loop(4, length, |client, _| {
        let (visitor, email) = (&visitor, attendee_email(client));
        async move {
            let login = json!({"email": email, "password": PASSWORD});
            visitor.post("/users/login", &login).await?.expect(StatusCode::OK).map(drop)
        }
    });
    let run = run.await;
    report.scenario("log in", 4, &run, &before, &world.cpu().await?);
    Ok(())
}

/// Pending bookings spread over many events.
pub(crate) async fn bookings(world: &World, length: Duration, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("creating {EVENTS} events");
    let events = world.events(EVENTS, 1_500).await?;
    eprintln!("bookings over {EVENTS} events");
    let before = world.cpu().await?;
    let run = closed_loop(CLIENTS, length, |_, n| {
        let booking = json!({"event_id": pick(&events, n), "seats": 1});
        let attendee = world.as_attendee();
        async move { attendee.post("/bookings", &booking).await?.expect(StatusCode::CREATED).map(drop) }
    });
    let run = run.await;
    report.scenario("book, over 1,000 events", CLIENTS, &run, &before, &world.cpu().await?);
    Ok(())
}

/// A booking and its payment, as one.
pub(crate) async fn payments(world: &World, length: Duration, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("bookings with payment");
    let events = world.events(20, 1_500).await?;
    let before = world.cpu().await?;
    let run = closed_loop(CLIENTS, length, |_, n| book_and_pay(world, pick(&events, n)));
    let run = run.await;
    report.scenario("book and pay", CLIENTS, &run, &before, &world.cpu().await?);
    Ok(())
}

fn pick(events: &[String], n: u64) -> &str {
    &events[usize::try_from(n).unwrap_or_default() % events.len()]
}

async fn book_and_pay(world: &World, event: &str) -> anyhow::Result<()> {
    let attendee = world.as_attendee();
    let booking = json!({"event_id": event, "seats": 1});
    let booking = attendee.post("/bookings", &booking).await?.expect(StatusCode::CREATED)?;
    let payment = json!({"booking_id": booking["id"], "payment_method": "pm_card_visa"});
    attendee.post("/payments", &payment).await?.expect(StatusCode::CREATED).map(drop)
}

/// Calls to fsync per paid booking, one at a time and many at once.
pub(crate) async fn fsyncs(world: &World, report: &mut Report) -> anyhow::Result<()> {
    let events = world.events(8, 1_500).await?;
    for clients in [1, CLIENTS] {
        eprintln!("fsyncs of {COUNTED_BOOKINGS} paid bookings, {clients} clients");
        let processes = world.processes().await?;
        let mut counters = Vec::new();
        for name in ["PostgreSQL", "MongoDB", "RabbitMQ"] {
            match FsyncCounter::attach(processes[name][0]) {
                Ok(counter) => counters.push((name, counter)),
                Err(error) => report.not_run(&format!("fsyncs of {name}: {error:#}")),
            }
        }
        let done = std::sync::atomic::AtomicU64::new(0);
        let run = closed_loop(clients, Duration::from_secs(60), |_, n| {
            let (done, event) = (&done, pick(&events, n));
            async move {
                if done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < COUNTED_BOOKINGS {
                    return book_and_pay(world, event).await;
                }
                // The loop goes by time; past the last booking there is nothing to do but wait for it.
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok(())
            }
        });
        let finished = async {
            while done.load(std::sync::atomic::Ordering::Relaxed) < COUNTED_BOOKINGS + clients as u64 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! { _ = run => {}, () = finished => {} }
        for (name, counter) in counters {
            report.fsyncs(name, clients, count(counter.finish()?) / count(COUNTED_BOOKINGS));
        }
    }
    Ok(())
}
