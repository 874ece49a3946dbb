//! Checks the numbered invariants of the platform against PostgreSQL, MongoDB, the gateway's ledger, RabbitMQ and what
//! users were told: some while everything breaks ([`watch`]), all once nothing is left to do ([`check`]).
//!
//! Invariant 6, no seat without payment, is what 2 and 4 say together.

pub(crate) mod bookings;
mod deletions;
mod messages;
mod money;
mod seats;
pub(crate) mod transitions;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use eventplatform_tests::wait;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

pub(crate) use self::seats::{LOOKED, Watcher};
use crate::journal::Journal;
use crate::world::World;

/// Nothing is left to do within this time of recovery.
pub(crate) const QUIET_LIMIT: Duration = Duration::from_secs(300);
/// Everybody was told within this time of recovery.
pub(crate) const TOLD_LIMIT: Duration = Duration::from_secs(60);
/// Of the messages that waited while a fault lasted, most are stored within this time.
const CAUGHT_UP_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// Something that must not be.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Violation {
    invariant: u8,
    what: String,
}

impl Violation {
    pub(crate) fn new(invariant: u8, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }

    pub(crate) fn invariant(&self) -> u8 {
        self.invariant
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {}: {}", self.invariant, self.what)
    }
}

/// Looks at the seats every second until it is dropped. A database that is away says nothing.
pub(crate) async fn watch(world: Arc<World>, journal: Arc<Journal>, watcher: Arc<Mutex<Watcher>>) {
    loop {
        watcher.lock().await.look(&world.events, &journal).await.ok();
        sleep(PAUSE).await;
    }
}

/// Waits until few messages wait, so that storing those of a long outage does not count as part of what breaks next.
pub(crate) async fn caught_up(world: &World) {
    let deadline = Instant::now() + CAUGHT_UP_LIMIT;
    while !messages::few_wait(world).await.unwrap_or(false) && Instant::now() < deadline {
        sleep(PAUSE).await;
    }
}

/// Waits until nothing is left to do, and says how long that took. Everything is whole from its beginning on.
pub(crate) async fn quiet(world: &World, journal: &Journal, limit: Duration) -> Result<Duration> {
    let began = Instant::now();
    wait::until("nothing is left to do", limit, async || {
        if began.elapsed() > seats::OVERDUE {
            journal.violated(seats::overdue(&world.events, seats::OVERDUE).await?);
        }
        let left = bookings::unfinished(&world.bookings).await?;
        ensure!(left.iter().all(|(_, count)| *count == 0), "left to do: {left:?}");
        let held = seats::count_held(&world.events).await?;
        ensure!(held == 0, "{held} reservations are held");
        messages::all_sent(world).await?;
        deletions::all_finished(world).await
    })
    .await?;
    Ok(began.elapsed())
}

/// Everything that is wrong once nothing is left to do; waits for so long for notifications that are under way.
pub(crate) async fn check(
    world: &World,
    journal: &Journal,
    watcher: &mut Watcher,
    told_limit: Duration,
) -> Result<Vec<Violation>> {
    let deleted = &deletions::deleted(world).await?;
    let told = wait::until("everybody was told", told_limit, async || {
        let wrong = messages::check(world, deleted).await?;
        ensure!(wrong.is_empty(), "not yet");
        let unheard = bookings::unheard(world).await?;
        ensure!(unheard.is_empty(), "not yet");
        Ok(())
    });
    told.await.ok();
    let mut violations = journal.violations();
    violations.extend(messages::check(world, deleted).await?);
    violations.extend(bookings::unheard(world).await?);
    violations.extend(bookings::check(world, journal, deleted).await?);
    violations.extend(money::check(world).await?);
    violations.extend(seats::check(world, watcher).await?);
    violations.extend(transitions::check(&world.bookings).await?);
    violations.extend(deletions::check(world, journal, deleted).await?);
    violations.sort();
    violations.dedup();
    Ok(violations)
}
