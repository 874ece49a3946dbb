//! Closed-loop load on the real services by HTTP, on servers of its own that write to the disk; see `bench/README.md`.
//!
//! - [`load`]: clients that wait for their answer; [`process`]: processor time, memory, fsyncs
//! - [`world`]: a platform with accounts and events; [`scenarios`]: what is measured; [`report`]: the tables

mod load;
mod process;
mod report;
mod scenarios;
mod world;

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use eventplatform_tests::paths;

use crate::{report::Report, world::World};

/// Measures the services and writes the figures into bench/README.md.
#[derive(Parser)]
struct Args {
    /// Seconds of each run.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// How often grouped and single holds take turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only print the figures; leave bench/README.md as it is.
    #[arg(long)]
    print_only: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let length = Duration::from_secs(args.seconds);
    let mut report = Report::new();

    eprintln!("starting two platforms: holds committed in groups, and one by one");
    let grouped = World::start(500).await?;
    let single = World::start(1).await?;
    report.machine(&grouped).await?;
    scenarios::memory(&grouped, &mut report, "idle, after start").await;
    scenarios::start_times(&grouped, &mut report).await?;
    scenarios::hot_event(&grouped, &single, length, args.rounds, &mut report).await?;
    drop(single);
    scenarios::reads(&grouped, length, &mut report).await?;
    scenarios::logins(&grouped, length, &mut report).await?;
    scenarios::bookings(&grouped, length, &mut report).await?;
    scenarios::payments(&grouped, length, &mut report).await?;
    scenarios::memory(&grouped, &mut report, "after all of it").await;
    scenarios::fsyncs(&grouped, &mut report).await?;

    println!("{}", report.text());
    if !args.print_only {
        let readme: PathBuf = paths::workspace().join("bench/README.md");
        report.write_into(&readme).with_context(|| format!("cannot write {}", readme.display()))?;
        eprintln!("written into {}", readme.display());
    }
    Ok(())
}
