//! `kill -9` at every named failpoint.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventplatform_tests::paths;
use eventplatform_tests::programs::Program;
use futures::future::select_all;
use platform::failpoint::{FaultConfig, POINTS};
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::provocation::Provocation;
use crate::workload::Workload;
use crate::world::World;

const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();
/// The longest way to a failpoint, its story told again and again.
const LIMIT: Duration = Duration::from_secs(60);

/// Every failpoint with every program that it is in.
pub(crate) fn everywhere() -> Vec<(&'static str, Program)> {
    let places = |point: &'static str| {
        let programs: &[Program] = match point.split('.').next().unwrap_or_default() {
            "booking" => &[Program::Booking],
            "idempotency" | "relay" => &[Program::Booking, Program::Event, Program::User],
            "event" => &[Program::Event],
            "notification" => &[Program::Notification],
            _ if point == "bus.sent" => &[Program::Booking, Program::Event, Program::User],
            _ => &[Program::Notification, Program::Booking, Program::Event],
        };
        programs.iter().map(move |program| (point, *program))
    };
    POINTS.into_iter().flat_map(places).collect()
}

/// Has the replica of `program` that reaches `point` first killed there, and starts it again; says since when it is
/// being started. Fails if none gets there.
pub(crate) async fn kill_at(
    world: &World,
    work: &Arc<Workload>,
    (point, program): (&'static str, Program),
    rng: &mut StdRng,
) -> Result<Instant> {
    let orders = FaultConfig { kill_at: Some(point.to_owned()), ..FaultConfig::default() };
    world.order(program, &orders).await?;
    let story = Provocation::of(point, program);
    let killed = select_all(world.stack.replicas(program).iter().map(|replica| Box::pin(replica.ended())));
    let telling = async {
        loop {
            // What fails is told again.
            story.tell(world, work, rng).await.ok();
        }
    };
    let reached = async {
        tokio::select! { (ended, ..) = killed => ended, () = telling => None }
    };
    let reached = tokio::time::timeout(LIMIT, reached).await;
    let cleared = Instant::now();
    story.forget(world).await?;
    world.stand_down(program).await?;
    let ended = reached.with_context(|| format!("none was killed at {point} of {} ({story:?})", program.name()))?;
    let signal = ended.and_then(|ended| ended.signal());
    ensure!(signal == Some(SIGKILL), "{} ended at {point}, but by {ended:?}", program.name());
    Ok(cleared)
}

#[test]
fn every_failpoint_stands_in_one_place() {
    let mut sources = String::new();
    for folder in ["crates/platform/src", "services"] {
        read(&paths::workspace().join(folder), &mut sources).unwrap();
    }

    for name in POINTS {
        assert_eq!(sources.matches(&format!("failpoint!(\"{name}\")")).count(), 1, "{name}");
    }
}

fn read(folder: &std::path::Path, into: &mut String) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
