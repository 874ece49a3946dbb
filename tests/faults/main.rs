//! Nothing oversold, lost or charged twice, whatever breaks: the real services on real servers, two replicas of each,
//! under load while faults are injected, and a checker of the invariants. See docs/reliability.md.
//!
//! - [`run`]: the short and the full form; [`mutants`]: without its guards, the platform fails here
//! - [`fault`]: what breaks; [`stepdown`]: what only a mongod can do; [`failpoints`]: `kill -9` between any two effects; [`provocation`]: getting there
//! - [`workload`]: the users; [`journal`]: what they were told; [`recovery`] and [`report`]: how long they waited
//! - [`checker`]: the invariants; [`world`]: the platform, its links and its databases

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod checker;
mod failpoints;
mod fault;
mod journal;
mod mutants;
mod provocation;
mod recovery;
mod report;
mod run;
mod stepdown;
mod workload;
mod world;

use std::io::Write;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::Mutex;

/// One platform at a time has the machine.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// Runs a test that needs the machine for itself, for so long at most.
pub(crate) async fn alone(limit: Duration, test: impl Future<Output = Result<()>>) -> Result<()> {
    let _machine = MACHINE.lock().await;
    tokio::time::timeout(limit, test).await.with_context(|| format!("not done within {limit:?}"))?
}

/// Prints the progress and the time so far, past the test harness, which would capture it.
pub(crate) fn say(line: &str) {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    writeln!(std::io::stderr(), "faults: {:4.0} s: {line}", BEGAN.elapsed().as_secs_f64()).ok();
}
