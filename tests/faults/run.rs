//! The run: users at work while everything breaks, one fault after the other and then together.
//!
//! `FAULT_SEED` repeats the order of faults and what users want. A run has rounds, each on a platform of its own: two in
//! the short form, and as many as it takes with `FAULT_FORM=full`.

use std::collections::VecDeque;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventplatform_tests::process::{CpuQuota, cpu_seconds};
use eventplatform_tests::programs::{Binaries, Program, version};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::checker::{self, QUIET_LIMIT, TOLD_LIMIT, Watcher};
use crate::failpoints;
use crate::fault::Fault;
use crate::recovery::{self, WINDOW};
use crate::report::{Recovery, Report};
use crate::workload::Workload;
use crate::world::World;
use crate::{alone, say};

/// How long seats are held for payment.
const HOLD_SECONDS: u64 = 15;
const PEOPLE: usize = 60;
const CLIENTS: usize = 32;
/// Rounds that have to do with all failpoints, and with all kinds of faults: each takes its share.
const SHARES: usize = 2;
/// A round goes on until there were this many bookings, and at least this many combinations of faults.
const BOOKINGS_OF_A_ROUND: usize = 5_000;
const COMBINATIONS_OF_A_ROUND: usize = 2;
/// In the short form, no combination begins after this much of a round: a slow machine does less in it.
const SHORT_ROUND: Duration = Duration::from_secs(330);
/// How long there are ten times as many users.
const CROWDED_FOR: Duration = Duration::from_secs(8);
/// How much slower the programs are made than they are: machines differ by this much.
const SLOWED: f64 = 3.0;
/// Until everybody has come.
const ARRIVAL: Duration = Duration::from_secs(3);
/// Seconds without faults, by which the usual is known before anything has broken.
const CALM: usize = 5;
/// How many of the latest calm seconds the usual is taken from: the first ones, and one after each fault.
const USUAL_OVER: usize = 16;
/// How long faults last that strike together.
const TOGETHER: Duration = Duration::from_secs(3);

/// How much is done.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Every failpoint and every kind of fault once.
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
            Self::Short => report.rounds() >= SHARES,
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
    // As it is before rounds are kept in it.
    let version = version().await;
    let older = Binaries::older().await?;
    say(&format!("seed {seed}; FAULT_SEED={seed} repeats it"));
    let mut report = if form == Form::Short { Report::new(seed) } else { Report::resumed(seed)? };
    while !form.is_over(&report) {
        Box::pin(round(form, report.rounds(), seed, &version, older.clone(), &mut report)).await?;
        report.publish()?;
        if form != Form::Short {
            report.save(form.is_over(&report))?;
        }
    }
    report.verdict()
}

/// One platform from its start until nothing is left to do.
async fn round(
    form: Form,
    number: usize,
    seed: u64,
    version: &str,
    older: Option<(String, Binaries)>,
    report: &mut Report,
) -> Result<()> {
    let (began, seed) = (Instant::now(), seed.wrapping_add(number as u64));
    let world = Arc::new(World { older, ..World::start(HOLD_SECONDS).await? });
    let work = Workload::prepare(&world.stack, PEOPLE).await?;
    let users = work.run(CLIENTS, seed);
    let watcher = Arc::new(Mutex::new(Watcher::new()));
    let watching = tokio::spawn(checker::watch(world.clone(), work.journal.clone(), watcher.clone()));
    if number == 0 {
        Fault::says_what_cannot_strike(&world);
    }
    let mut run = Run { world, work, rng: StdRng::seed_from_u64(seed), calm: VecDeque::new(), report };

    run.is_calm().await;
    if number < SHARES {
        run.is_killed_everywhere(number).await?;
        run.breaks_in_every_way(number).await?;
    } else {
        run.is_killed_everywhere_and_elsewhere(number % SHARES).await?;
    }
    if number == 0 {
        run.is_crowded(seed).await?;
    }
    let until = (form == Form::Short).then(|| began + SHORT_ROUND);
    run.breaks_together(until).await?;
    run.ends(users).await?;

    let recovered = Instant::now();
    let quiet = checker::quiet(&run.world, &run.work.journal, QUIET_LIMIT).await;
    let mut watcher = watcher.lock().await;
    watching.abort();
    let told_limit = TOLD_LIMIT.saturating_sub(recovered.elapsed());
    let mut violations = checker::check(&run.world, &run.work.journal, &mut watcher, told_limit).await?;
    violations.extend(checker::bookings::findings(&run.world.bookings).await?);
    run.report.ends_round(version, began.elapsed(), &run.work.journal, &violations);
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
    /// The 99th percentiles of the latest seconds in which nothing was broken.
    calm: VecDeque<Duration>,
    report: &'a mut Report,
}

impl Run<'_> {
    /// Has a replica killed at every failpoint of a share, one right after the other.
    async fn is_killed_everywhere(&mut self, share: usize) -> Result<()> {
        for place in self.share(share, failpoints::everywhere()) {
            self.is_killed_at(place).await?;
            self.says(&format!("killed at {} of {}", place.0, place.1.name()));
        }
        Ok(())
    }

    /// The same, with a replica of another program away too, and measures how long it takes until bookings are back.
    async fn is_killed_everywhere_and_elsewhere(&mut self, share: usize) -> Result<()> {
        for place in self.share(share, failpoints::everywhere()) {
            let away = Fault::kill_beside(place.1, &mut self.rng);
            away.strike(&self.world, &self.work).await?;
            self.report.programs_killed += 1;
            self.report.faults += 1;
            let cleared = self.is_killed_at(place).await?;
            away.clear(&self.world, &self.work).await?;
            let name = format!("killed at {} of {} + {away}", place.0, place.1.name());
            self.is_back(&name, "kill -9 at a failpoint and elsewhere", cleared).await;
        }
        Ok(())
    }

    async fn is_killed_at(&mut self, place: (&'static str, Program)) -> Result<Instant> {
        let cleared = failpoints::kill_at(&self.world, &self.work, place, &mut self.rng).await?;
        self.report.failpoints += 1;
        self.report.faults += 1;
        Ok(cleared)
    }

    /// Has every kind of fault of a share strike alone.
    async fn breaks_in_every_way(&mut self, share: usize) -> Result<()> {
        let kinds = Fault::every_kind(&self.world, &mut self.rng);
        for fault in self.share(share, kinds) {
            checker::caught_up(&self.world).await;
            self.breaks(vec![fault]).await?;
        }
        Ok(())
    }

    /// Every second of them, if there are two shares, in random order.
    fn share<T>(&mut self, share: usize, all: Vec<T>) -> Vec<T> {
        let mut some: Vec<T> = all.into_iter().skip(share).step_by(SHARES).collect();
        some.shuffle(&mut self.rng);
        some
    }

    /// Has several faults strike at once, again and again, until there were enough bookings or it is too late.
    async fn breaks_together(&mut self, until: Option<Instant>) -> Result<()> {
        let mut combinations = 0;
        let is_late = || until.is_some_and(|until| Instant::now() >= until);
        while combinations < COMBINATIONS_OF_A_ROUND
            || self.work.journal.count_bookings() < BOOKINGS_OF_A_ROUND && !is_late()
        {
            let count = self.rng.random_range(2..=3);
            let mut together = Vec::new();
            while together.len() < count {
                let fault = Fault::any(&self.world, &mut self.rng);
                if !together.iter().any(|other| fault.excludes(other)) {
                    together.push(fault);
                }
            }
            self.breaks(together).await?;
            combinations += 1;
        }
        Ok(())
    }

    /// Ten times as many users come for a while: they are served or wait, but nothing breaks. Once as the machine is, and
    /// once with a third of the processor time that the programs took for the usual users.
    async fn is_crowded(&mut self, seed: u64) -> Result<()> {
        let pids = self.world.pids().await;
        let used = || pids.iter().copied().map(cpu_seconds).sum::<f64>();
        let (from, before) = (Instant::now(), used());
        self.has_guests("", seed).await?;
        let cores = (used() - before) / from.elapsed().as_secs_f64();
        match CpuQuota::limit(&pids, cores / SLOWED) {
            Ok(_quota) => {
                sleep(ARRIVAL).await;
                self.has_guests("with a third of the processor time: ", seed.wrapping_add(1)).await?;
            }
            Err(error) => say(&format!("NOT RUN: ten times the users of slowed programs ({error:#})")),
        }
        Ok(())
    }

    async fn has_guests(&mut self, how: &str, seed: u64) -> Result<()> {
        let journal = &self.work.journal;
        let rate = async |over: Duration| {
            let (from, before) = (Instant::now(), journal.count_bookings());
            sleep(over).await;
            let (booked, took) = (journal.count_bookings() - before, from.elapsed());
            let p99 = recovery::p99(&recovery::ended(journal, from, from + took).await);
            let per_second = f64::from(u32::try_from(booked)?) / took.as_secs_f64();
            anyhow::Ok(format!("{per_second:.1} bookings/s, p99 {p99:.1?}"))
        };
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
        let line = format!("{how}{usual}; with ten times the users {crowded}, answers of 5xx: {broken:?}");
        self.says(&line);
        self.report.crowds.push(line);
        self.report.crowd_broken += broken.into_values().sum::<u64>();
        Ok(())
    }

    /// Lets users work, and learns what is usual.
    async fn is_calm(&mut self) {
        sleep(ARRIVAL).await;
        for _ in 0..CALM {
            let from = Instant::now();
            sleep(WINDOW).await;
            self.calm.push_back(recovery::p99(&recovery::ended(&self.work.journal, from, from + WINDOW).await));
        }
    }

    /// The median of the latest calm seconds' 99th percentiles. MongoDB's stand-in slows down as collections grow, so
    /// the usual of the beginning is not that of the end; a median does not follow a few bad seconds.
    fn usual(&self) -> Duration {
        let mut latest: Vec<Duration> = self.calm.iter().copied().collect();
        latest.sort_unstable();
        latest.get(latest.len() / 2).copied().unwrap_or_default()
    }

    /// Waits until bookings are back after what was being mended from `cleared` on.
    async fn is_back(&mut self, name: &str, kind: &str, cleared: Instant) {
        let usual = self.usual();
        match recovery::wait(&self.work.journal, cleared, usual).await {
            Ok((after, p99)) => {
                self.calm.push_back(p99);
                if self.calm.len() > USUAL_OVER {
                    self.calm.pop_front();
                }
                self.says(&format!("{name}: back after {:.1} s, usual p99 {usual:.1?}", after.as_secs_f64()));
                self.report.recovered(kind.to_owned(), Recovery { after, usual });
            }
            Err(error) => {
                self.says(&format!("{name}: {error}"));
                self.report.late.push(format!("{name}: {error}"));
            }
        }
    }

    /// Has faults strike together, and measures how long it takes until bookings are back.
    async fn breaks(&mut self, faults: Vec<Fault>) -> Result<()> {
        let names: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let names = names.join(" + ");
        let (world, work) = (&self.world, &self.work);
        // One that cannot strike, such as a queue unbound while RabbitMQ is down, is struck by the other.
        let struck = join_all(faults.iter().map(|fault| fault.strike(world, work))).await;
        ensure!(struck.iter().any(Result::is_ok), "{names}: {struck:?}");
        let struck: Vec<&Fault> =
            faults.iter().zip(struck).filter(|(_, struck)| struck.is_ok()).map(|(fault, _)| fault).collect();
        match &faults[..] {
            [fault] => {
                sleep(fault.lasts()).await;
                fault.has_struck(world).await?;
            }
            _ => sleep(faults.iter().map(Fault::lasts).max().unwrap_or_default().min(TOGETHER)).await,
        }
        self.report.faults += struck.len();
        self.report.programs_killed += struck.iter().filter(|fault| matches!(fault, Fault::Kill(..))).count();
        self.report.servers_killed += struck.iter().filter(|fault| matches!(fault, Fault::KillServer(_))).count();

        let cleared = Instant::now();
        let mut to_clear: Vec<_> = faults.iter().collect();
        to_clear.sort_by_key(|fault| fault.clears_at());
        for fault in to_clear {
            fault.clear(world, work).await.with_context(|| names.clone())?;
        }
        if faults.len() > 1 {
            world.mend().await?;
        }
        self.is_back(&names, if faults.len() > 1 { "several together" } else { &names }, cleared).await;
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
