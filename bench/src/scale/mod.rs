//! `bench scale`: which limit comes first at which rate, and how long a booking takes there, from what `bench` measured.
//!
//! A booking here is a paid one: `POST /bookings` and `POST /payments`, without the time of the person between them and
//! of the payment provider.
//!
//! - [`constants`]: what a booking costs; [`model`]: limits and queues of the platform
//! - [`queueing`]: the simulation, which knows nothing of bookings

mod constants;
mod model;
mod queueing;

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use eventplatform_tests::paths;

use self::{
    constants::{Constants, Measured},
    model::{Assumed, Layout, Model, TODAY},
};
use crate::load::count;

const RATES: [f64; 3] = [10.0, 1_000.0, 100_000.0];
const MANY_EVENTS: usize = 1_000;
/// How many of each there are after a change.
const SPLIT: usize = 10;
/// Requests of a group of routes that a replica works on at once; see `crates/platform/src/server/admission.rs`.
const ADMITTED: f64 = 32.0;

/// Says which limit comes first at 10, 1,000 and 100,000 bookings a second, and simulates how long a booking takes.
///
/// Prints the tables of docs/scale.md.
#[derive(Args)]
pub(crate) struct ScaleArgs {
    /// The measured constants; bench.json in the folder `bench` of cargo's target folder if absent.
    #[arg(long)]
    from: Option<PathBuf>,
    #[command(flatten)]
    measured: Measured,
    #[command(flatten)]
    assumed: Assumed,
}

/// Prints all tables.
pub(crate) fn run(args: ScaleArgs) -> Result<()> {
    let from = match args.from {
        Some(from) => from,
        None => paths::cargo_target()?.join("bench/bench.json"),
    };
    let text = fs::read_to_string(&from).with_context(|| format!("{}; `make bench` writes it", from.display()))?;
    let (constants, table) = Constants::read(&serde_json::from_str(&text)?, &args.measured)?;
    let model = Model { constants, assumed: args.assumed };
    println!("{table}\n{}\n{}\n{}\n{}", rates(&model), needs(&model), changes(&model), waiting_room(&model));
    Ok(())
}

/// The first limit where there is one of each, and how long a booking takes where there is enough of all that can be
/// had twice.
fn rates(model: &Model) -> String {
    let mut text = String::from(
        "| bookings/s | events | first limit | bookings/s that it allows | p50, ms | p99, ms |\n\
         |---:|---:|---|---:|---:|---:|\n",
    );
    for (rate, events) in RATES.into_iter().flat_map(|rate| [(rate, 1), (rate, MANY_EVENTS)]) {
        let (limit, allowed) = model.limits(Layout { events, ..TODAY })[0];
        // Beyond that, the queue of the event grows for as long as people come.
        let [p50, p99] = if rate < model.full_groups() * count(events) {
            let times = model.simulate(rate, events);
            [times.p50, times.p99].map(|seconds| format!("{:.0}", seconds * 1_000.0))
        } else {
            ["–", "–"].map(str::to_owned)
        };
        let _ = writeln!(text, "| {rate} | {events} | {limit} | {allowed:.0} | {p50} | {p99} |");
    }
    text
}

/// How much of everything a rate needs, whose bookings are of many events.
fn needs(model: &Model) -> String {
    let mut text = String::from(
        "| bookings/s | replicas of booking-service | of event-service | of notification-service | cores of PostgreSQL | \
         databases | cores of MongoDB | shards | queues of RabbitMQ |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let it = &model.constants;
    for rate in RATES {
        let replicas = |ms| (model.cores(rate, ms) / count(model.assumed.replica_cores)).ceil();
        let machines = |ms| (model.cores(rate, ms) / count(model.assumed.cores)).ceil();
        // Half of a booking's time is spent in each of its requests.
        let admitting = (rate * model.simulate(rate, MANY_EVENTS).mean / 2.0 / ADMITTED).ceil();
        let _ = writeln!(
            text,
            "| {rate} | {} | {} | {} | {} | {} | {} | {} | {} |",
            replicas(it.booking).max(admitting),
            replicas(it.event),
            replicas(it.notification),
            model.cores(rate, it.postgres),
            machines(it.postgres),
            model.cores(rate, it.mongodb),
            machines(it.mongodb),
            model.cores(rate, it.rabbitmq),
        );
    }
    let alone = 1_000.0 / (it.commit * it.fsyncs);
    text + &format!(
        "\nIf no more commits shared a call to fsync than in that run, the calls would allow {alone:.0} bookings/s.\n"
    )
}

/// What more of each resource gives.
fn changes(model: &Model) -> String {
    let split = |databases, shards, queues| Layout { databases, shards, queues, ..TODAY };
    let layouts = [
        ("as it is", TODAY),
        ("ten shards", split(1, SPLIT, 1)),
        ("ten databases of booking-service", split(SPLIT, 1, 1)),
        ("ten queues of RabbitMQ", split(1, 1, SPLIT)),
        ("ten of each", split(SPLIT, SPLIT, SPLIT)),
    ];
    let mut text = format!(
        "| | one event, bookings/s | limited by | {MANY_EVENTS} events, bookings/s | limited by |\n\
         |---|---:|---|---:|---|\n"
    );
    for (title, layout) in layouts {
        let (limit_of_one, one) = model.limits(layout)[0];
        let (limit_of_all, all) = model.limits(Layout { events: MANY_EVENTS, ..layout })[0];
        let _ = writeln!(text, "| {title} | {one:.0} | {limit_of_one} | {all:.0} | {limit_of_all} |");
    }
    text
}

/// At which rate people may be let in.
fn waiting_room(model: &Model) -> String {
    let many = Layout { events: MANY_EVENTS, ..TODAY };
    let all = model.limits(many)[0].1;
    let most = model.limits(Layout { databases: SPLIT, shards: SPLIT, queues: SPLIT, ..many })[0].1;
    // One event has no more than all events have.
    let one = model.admission_rate().min(all);
    let times = model.simulate(one, 1);
    format!(
        "| waiting room | |\n|---|---:|\n\
         | admitted to one event | {one:.0}/s |\n\
         | p50 and p99 of those who are admitted | {:.0} and {:.0} ms |\n\
         | 10,000 bookings of one event take | {:.1} min |\n\
         | admitted in all, as it is | {all:.0}/s, {:.1} such events |\n\
         | admitted in all, with ten of each | {most:.0}/s, {:.1} such events |\n",
        times.p50 * 1_000.0,
        times.p99 * 1_000.0,
        10_000.0 / one / 60.0,
        all / one,
        most / one,
    )
}
