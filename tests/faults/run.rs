//! The run: users at work while everything breaks, one fault after the other and then together.
//!
//! `FAULT_SEED` repeats the order of faults and what users want. `FAULT_FORM=full` goes on for hours: round after round,
//! each on a platform of its own, of which the first is the short form.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventplatform_tests::programs::{Binaries, version};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::checker::{self, QUIET_LIMIT, TOLD_LIMIT};
use crate::failpoints;
use crate::fault::{Fault, shuffle};
use crate::report::Report;
use crate::workload::Workload;
use crate::world::World;
use crate::{alone, recovery, say};

/// How long seats are held for payment.
const HOLD_SECONDS: u64 = 20;
const PEOPLE: usize = 60;
const CLIENTS: usize = 32;
/// A round goes on until there were so many bookings, and faults together at least so often.
const BOOKINGS_OF_A_ROUND: usize = 10_000;
const COMBINATIONS_OF_A_ROUND: usize = 3;
/// How long there are ten times as many users.
const CROWDED_FOR: Duration = Duration::from_secs(8);
/// Time without faults before each, by which the usual is known.
const CALM: Duration = Duration::from_secs(1);
/// Calm time that the usual is taken from.
const USUAL_OVER: usize = 16;

/// How much is done.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// One round.
    Short,
    /// Rounds until there were so many bookings and kills. Cut off, it goes on with the round that it was at.
    Full { bookings: usize, kills: usize },
}

impl Form {
    fn chosen() -> Self {
        match env::var("FAULT_FORM").as_deref() {
            Ok("full") => Self::Full { bookings: 100_000, kills: 1000 },
            _ => Self::Short,
        }
    }

    /// Something is stuck after this.
    fn limit(self) -> Duration {
        Duration::from_secs(if self == Self::Short { 2400 } else { 12 * 3600 })
    }

    fn is_over(self, report: &Report) -> bool {
        match self {
            Self::Short => report.rounds() > 0,
            Self::Full { bookings, kills } => report.bookings >= bookings && report.kills() >= kills,
        }
    }
}

fn seed() -> u64 {
    env::var("FAULT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::random::<u32>().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_oversold_lost_or_charged_twice_whatever_breaks() -> Result<()> {
    let form = Form::chosen();
    Box::pin(alone(form.limit(), run(form, seed()))).await
}

async fn run(form: Form, seed: u64) -> Result<()> {
    let older = Binaries::older().await?;
    say(&format!("seed {seed}; FAULT_SEED={seed} repeats it"));
    let mut report = if form == Form::Short { Report::new(seed) } else { Report::resumed(seed)? };
    while !form.is_over(&report) {
        Box::pin(round(report.rounds(), seed, older.clone(), &mut report)).await?;
        report.publish()?;
        if form != Form::Short {
            report.save(form.is_over(&report))?;
        }
    }
    report.verdict()
}

/// One platform from its start until nothing is left to do.
async fn round(number: u64, seed: u64, older: Option<(String, Binaries)>, report: &mut Report) -> Result<()> {
    let (began, seed) = (Instant::now(), seed.wrapping_add(number));
    let world = Arc::new(World { older, ..World::start(HOLD_SECONDS).await? });
    let work = Workload::prepare(&world.stack, PEOPLE).await?;
    let users = work.run(CLIENTS, seed);
    let watching = tokio::spawn(checker::watch(world.clone(), work.journal.clone()));
    let mut run = Run { world, work, rng: StdRng::seed_from_u64(seed), calm: Vec::new(), report };

    // So that everybody has come.
    sleep(CALM * 2).await;
    run.is_killed_everywhere().await?;
    if number == 0 {
        run.breaks_in_every_way().await?;
    }
    run.breaks_together().await?;
    if number == 0 {
        run.is_crowded(seed).await?;
    }
    run.ends(users).await?;

    let quiet = checker::quiet(&run.world, QUIET_LIMIT).await;
    watching.abort();
    let violations = checker::check(&run.world, &run.work.journal, TOLD_LIMIT).await?;
    run.report.ends_round(&version().await, began.elapsed(), &run.work.journal, &violations);
    match quiet {
        Ok(after) => run.says(&format!("nothing left to do after {:.1} s", after.as_secs_f64())),
        Err(error) => run.report.late.push(format!("{error:#}")),
    }
    Ok(())
}

struct Run<'a> {
    world: Arc<World>,
    work: Arc<Workload>,
    rng: StdRng,
    /// When nothing was broken.
    calm: Vec<(Instant, Instant)>,
    report: &'a mut Report,
}

impl Run<'_> {
    /// Has a replica killed at every failpoint.
    async fn is_killed_everywhere(&mut self) -> Result<()> {
        for _ in 0..4 {
            self.is_calm().await;
        }
        let mut places = failpoints::everywhere();
        shuffle(&mut places, &mut self.rng);
        for place in places {
            failpoints::kill_at(&self.world, &self.work, place, &mut self.rng).await?;
            self.report.failpoints += 1;
            self.report.faults += 1;
            self.says(&format!("killed at {} of {}", place.0, place.1.name()));
        }
        Ok(())
    }

    /// Has every kind of fault strike alone.
    async fn breaks_in_every_way(&mut self) -> Result<()> {
        for fault in Fault::every_kind(&self.world, &mut self.rng) {
            self.breaks(vec![fault]).await?;
        }
        Ok(())
    }

    /// Has several faults strike at once, again and again, until there were enough bookings.
    async fn breaks_together(&mut self) -> Result<()> {
        let mut combinations = 0;
        while combinations < COMBINATIONS_OF_A_ROUND || self.work.journal.count_bookings() < BOOKINGS_OF_A_ROUND {
            let count = self.rng.random_range(2..=3);
            let together = (0..count).map(|_| Fault::any(&self.world, &mut self.rng)).collect();
            self.breaks(together).await?;
            combinations += 1;
        }
        Ok(())
    }

    /// Ten times as many users come for a while: they are served or wait, but nothing breaks.
    async fn is_crowded(&mut self, seed: u64) -> Result<()> {
        let journal = &self.work.journal;
        let rate = async |over: Duration| {
            let (from, before) = (Instant::now(), journal.count_bookings());
            sleep(over).await;
            let (booked, took) = (journal.count_bookings() - before, from.elapsed());
            let samples = journal.samples(from, from + took);
            let per_second = f64::from(u32::try_from(booked)?) / took.as_secs_f64();
            anyhow::Ok(format!("{per_second:.1} bookings/s, p99 {:.1?}", recovery::usual(samples)))
        };
        sleep(CALM).await;
        let usual = rate(CROWDED_FOR).await?;
        let (crowd, before) = (Arc::new(self.work.another()), journal.broken());
        let users = crowd.run(CLIENTS * 9, seed.wrapping_add(1));
        let crowded = rate(CROWDED_FOR).await?;
        crowd.stop();
        users.join_all().await;
        let mut broken = journal.broken();
        for (answer, count) in &mut broken {
            *count -= before.get(answer).unwrap_or(&0);
        }
        broken.retain(|_, count| *count > 0);
        self.report.crowd = format!("{usual}; with ten times the users {crowded}, answers of 5xx: {broken:?}");
        self.says(&self.report.crowd);
        self.report.crowd_broken = broken.into_values().sum();
        Ok(())
    }

    /// Lets users work, and learns what is usual.
    async fn is_calm(&mut self) {
        let from = Instant::now();
        sleep(CALM).await;
        self.calm.push((from, Instant::now()));
    }

    /// The 99th percentile of the latest calm times.
    fn usual(&self) -> Duration {
        let latest = self.calm.iter().rev().take(USUAL_OVER);
        let samples = latest.flat_map(|(from, to)| self.work.journal.samples(*from, *to)).collect();
        recovery::usual(samples)
    }

    /// Has faults strike together, and measures how long it takes until bookings are back.
    async fn breaks(&mut self, faults: Vec<Fault>) -> Result<()> {
        self.is_calm().await;
        let usual = self.usual();
        let names: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let names = names.join(" + ");
        let (world, work) = (&self.world, &self.work);
        // One that cannot strike, such as a queue unbound while RabbitMQ is down, is struck by the other.
        let struck = join_all(faults.iter().map(|fault| fault.strike(world, work))).await;
        ensure!(struck.iter().any(Result::is_ok), "{names}: {struck:?}");
        sleep(faults.iter().map(Fault::lasts).max().unwrap_or_default()).await;
        let mut to_clear: Vec<_> = faults.iter().collect();
        to_clear.sort_by_key(|fault| fault.clears_at());
        for fault in to_clear {
            fault.clear(world, work).await.with_context(|| names.clone())?;
        }
        if faults.len() > 1 {
            world.mend().await?;
        }
        let back = recovery::wait(&work.journal, Instant::now(), usual).await;
        self.report.faults += faults.len();
        self.report.programs_killed += faults.iter().filter(|fault| matches!(fault, Fault::Kill(..))).count();
        self.report.servers_killed += faults.iter().filter(|fault| matches!(fault, Fault::KillServer(_))).count();
        match back {
            Ok(after) => {
                self.says(&format!("{names}: back after {:.1} s, usual p99 {usual:.1?}", after.as_secs_f64()));
                let kind = if faults.len() > 1 { "several together".to_owned() } else { names };
                self.report.recovered(kind, after);
            }
            Err(error) => {
                self.says(&format!("{names}: {error}"));
                self.report.late.push(format!("{names}: {error}"));
            }
        }
        Ok(())
    }

    /// Mends everything, lets users finish what they have begun, and sends them home.
    async fn ends(&mut self, mut users: JoinSet<()>) -> Result<()> {
        self.world.mend().await?;
        self.work.stop();
        while let Some(ended) = users.join_next().await {
            ended?;
        }
        Ok(())
    }

    fn says(&self, what: &str) {
        say(&format!("{:5} bookings; {what}", self.work.journal.count_bookings()));
    }
}
