//! Compares the platform with the seed's stack on the same servers, and counts what a paid booking costs; see
//! `bench/README.md`.
//!
//! - [`contender`]: what the load and the accounts need to know of each; [`peers`]: the seed's stack
//! - [`crowd`]: people, events and what they do; [`load`]: in a closed and in an open loop
//! - [`compare`]: blocks of load, in turn; [`cost`]: commands of one paid booking; [`report`]: the tables
//! - [`scale`]: what follows from the results for higher rates, by a simulation of queues
//! - [`usage`]: processor time, memory and calls to fsync; [`wire`]: proxies that count commands

mod compare;
mod contender;
mod cost;
mod crowd;
mod load;
mod peers;
mod report;
mod scale;
mod usage;
mod wire;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use eventplatform_tests::{
    paths,
    servers::{Durability, Servers},
};
use tokio::time::{Instant, timeout_at};

use crate::{peers::Peers, report::Report, scale::ScaleArgs};

/// Compares the platform with the seed's stack, and counts what a paid booking costs.
///
/// `make bench` builds both first. The servers are its own and write to the disk; everything listens on 127.0.0.1.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// How long it takes: some 25 minutes, or 6.
    #[arg(long, value_enum, default_value_t = Form::Full)]
    form: Form,
    /// Blocks of load on each contender; 5, or 3 in the short form.
    #[arg(long)]
    pairs: Option<usize>,
    /// Clients in a closed loop.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    clients: u32,
    /// It ends after so many minutes, with the pairs that are done.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Folder of bench.json and bench.md; `bench` in cargo's target folder if absent.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Scale(ScaleArgs),
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Form {
    Full,
    Short,
}

/// How much is measured.
struct Plan {
    pairs: usize,
    clients: u32,
    /// Once, for the seed's stack: the JVM compiles for long.
    first_warm_up: Duration,
    /// Before each run.
    warm_up: Duration,
    closed_loop: Duration,
    open_loop: Duration,
    rest: Duration,
    counted_bookings: u32,
}

impl Plan {
    fn new(args: &Args) -> Self {
        let (full, seconds) = (args.form == Form::Full, Duration::from_secs);
        let choose = |long: u64, short: u64| seconds(if full { long } else { short });
        Self {
            pairs: args.pairs.unwrap_or(if full { 5 } else { 3 }),
            clients: args.clients,
            first_warm_up: choose(90, 20),
            warm_up: choose(2, 1),
            closed_loop: choose(8, 3),
            open_loop: choose(6, 2),
            rest: choose(60, 15),
            counted_bookings: if full { 50 } else { 20 },
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if let Some(Command::Scale(scale_args)) = args.command.take() {
        return scale::run(scale_args);
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => paths::cargo_target()?.join("bench"),
    };
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    // A dropped run takes its servers and contenders along.
    tokio::select! {
        outcome = run(&args, &out) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

async fn run(args: &Args, out: &std::path::Path) -> anyhow::Result<()> {
    let (plan, end) = (Plan::new(args), Instant::now() + Duration::from_secs(60 * args.minutes));
    eprintln!("starting PostgreSQL, RabbitMQ and MongoDB");
    let servers = Servers::throwaway(Durability::Synced).await?;
    let mut report = Report::new(&servers, &plan).await?;

    let measured = timeout_at(end, async {
        report.cost = Some(cost::count(&servers, &plan).await?);
        report.write(out)?;
        let peers = Peers::start(&servers, None).await?;
        compare::warm_up(&servers, &peers, &plan).await?;
        for pair in 0..plan.pairs {
            eprintln!("pair {} of {}", pair + 1, plan.pairs);
            report.pairs.push(compare::pair(&servers, &peers, &plan, pair).await?);
            report.write(out)?;
        }
        anyhow::Ok(())
    });
    match measured.await {
        Ok(outcome) => outcome?,
        Err(_) => eprintln!("{} minutes are over: {} pairs of {}", args.minutes, report.pairs.len(), plan.pairs),
    }
    servers.stop().await?;
    println!("{}", report.markdown());
    eprintln!("written to {}", out.display());
    Ok(())
}
