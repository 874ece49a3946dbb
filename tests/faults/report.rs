//! What a run has shown, for people: while it goes on, and in a file at the end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventplatform_tests::paths;
use serde::{Deserialize, Serialize};

use crate::checker::{LOOKED, Violation};
use crate::journal::Journal;
use crate::say;
use crate::workload::GIVEN_UP;

/// The fewest faults of a run.
const FAULTS: usize = 40;

/// What was broken, what users were told meanwhile, and how long they waited afterwards: sums over all rounds.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Report {
    seed: u64,
    rounds: Vec<String>,
    took: Duration,
    pub(crate) bookings: usize,
    priced: usize,
    paid: usize,
    outcomes: BTreeMap<String, u64>,
    recoveries: BTreeMap<String, Vec<Recovery>>,
    /// Where bookings were not back in time.
    pub(crate) late: Vec<String>,
    violations: Vec<String>,
    pub(crate) faults: usize,
    /// `kill -9` of a program, at a failpoint and at any other moment, and of a server.
    pub(crate) failpoints: usize,
    pub(crate) programs_killed: usize,
    pub(crate) servers_killed: usize,
    /// What ten times the users did, and how many of the answers were 5xx.
    pub(crate) crowds: Vec<String>,
    pub(crate) crowd_broken: u64,
}

/// After how long bookings were back, and the p99 that had been usual until then.
#[derive(Deserialize, Serialize)]
pub(crate) struct Recovery {
    pub(crate) after: Duration,
    pub(crate) usual: Duration,
}

/// What is kept of a run that takes longer than there is time at once: in the checkout, so that it can go on elsewhere.
fn kept(seed: u64) -> PathBuf {
    paths::workspace().join(format!("tests/faults/rounds-{seed}.json"))
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// The report of an interrupted run with this seed, or else a new one. Fails if the stored report is unreadable or
    /// contains a failure.
    pub(crate) fn resumed(seed: u64) -> Result<Self> {
        let kept = kept(seed);
        let Ok(saved) = fs::read(&kept) else { return Ok(Self::new(seed)) };
        let begin_anew = || format!("remove {} to begin anew", kept.display());
        let report: Self = serde_json::from_slice(&saved).with_context(begin_anew)?;
        report.verdict().with_context(begin_anew)?;
        say(&format!("goes on after {} rounds; {}", report.rounds(), begin_anew()));
        Ok(report)
    }

    /// How many rounds are over.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// Every `kill -9`.
    pub(crate) fn kills(&self) -> usize {
        self.failpoints + self.programs_killed + self.servers_killed
    }

    pub(crate) fn recovered(&mut self, fault: String, recovery: Recovery) {
        self.recoveries.entry(fault).or_default().push(recovery);
    }

    /// Adds what users were told in a round, and what was wrong at its end.
    pub(crate) fn ends_round(&mut self, version: &str, took: Duration, journal: &Journal, violations: &[Violation]) {
        let bookings = journal.bookings();
        self.bookings += bookings.len();
        self.priced += bookings.values().filter(|booking| booking.priced).count();
        self.paid += bookings.values().filter(|booking| booking.priced && booking.paid).count();
        for (outcome, count) in journal.outcomes() {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.took += took;
        let (number, count, wrong) = (self.rounds.len() + 1, bookings.len(), violations.len());
        self.rounds.push(format!("| {number} | {version} | {:.0} s | {count} | {wrong} |", took.as_secs_f64()));
        self.violations.extend(violations.iter().map(ToString::to_string));
    }

    /// Says it all, and writes it beside what cargo builds.
    pub(crate) fn publish(&self) -> Result<()> {
        let text = self.text()?;
        text.lines().for_each(say);
        let folder = paths::cargo_target()?.join("faults");
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(format!("{}.md", self.seed)), text)?)
    }

    /// Keeps it for [`Report::resumed`], until the run is finished.
    pub(crate) fn save(&self, finished: bool) -> Result<()> {
        let kept = kept(self.seed);
        if finished {
            fs::remove_file(kept).ok();
            return Ok(());
        }
        Ok(fs::write(kept, serde_json::to_vec_pretty(self)?)?)
    }

    /// Fails if anything was not as promised.
    pub(crate) fn verdict(&self) -> Result<()> {
        let Self { seed, crowds, .. } = self;
        ensure!(self.violations.is_empty(), "{} violations, FAULT_SEED={seed}", self.violations.len());
        // Every second, but for those in which MongoDB was away or busy.
        let (looked, seconds) = (self.outcomes.get(LOOKED).copied().unwrap_or_default(), self.took.as_secs());
        ensure!(looked >= seconds / 4, "in {seconds} s the seats were looked at only {looked} times");
        let given_up = self.outcomes.get(GIVEN_UP).copied().unwrap_or_default();
        ensure!(given_up == 0, "{given_up} requests were not served for 90 s, FAULT_SEED={seed}");
        ensure!(self.late.is_empty(), "bookings were not back in time, FAULT_SEED={seed}: {:?}", self.late);
        ensure!(self.crowd_broken == 0, "ten times the users are answered 5xx, FAULT_SEED={seed}: {crowds:?}");
        ensure!(self.faults >= FAULTS, "only {} faults", self.faults);
        Ok(())
    }

    fn text(&self) -> Result<String> {
        let Self { seed, bookings, priced, paid, faults, failpoints, programs_killed, servers_killed, .. } = self;
        let mut text = format!("Seed {seed}, {:.0} s.\n\n", self.took.as_secs_f64());
        writeln!(text, "{bookings} bookings acknowledged, {priced} of them priced, {paid} paid")?;
        writeln!(text, "{faults} faults; {} times kill -9, {failpoints} of them at a failpoint,", self.kills())?;
        writeln!(text, "{programs_killed} of a program at any other moment, {servers_killed} of a server")?;
        writeln!(text, "{}", self.crowds.join("\n"))?;
        writeln!(text, "{} violations, {} late recoveries\n", self.violations.len(), self.late.len())?;
        for line in self.violations.iter().chain(&self.late).take(100) {
            writeln!(text, "- {line}")?;
        }
        writeln!(text, "\n| round | version | time | bookings | violations |\n|---:|---|---:|---:|---:|")?;
        writeln!(text, "{}", self.rounds.join("\n"))?;
        writeln!(text, "\n| fault | times | back after, longest | usual p99 |\n|---|---:|---:|---:|")?;
        for (fault, recoveries) in &self.recoveries {
            let longest = recoveries.iter().map(|recovery| recovery.after).max().unwrap_or_default().as_secs_f64();
            let usual = recoveries.iter().map(|recovery| recovery.usual.as_secs_f64());
            let (least, most) = (usual.clone().fold(f64::MAX, f64::min), usual.fold(0.0, f64::max));
            writeln!(text, "| {fault} | {} | {longest:.1} s | {least:.1} to {most:.1} s |", recoveries.len())?;
        }
        writeln!(text, "\n| answer | times |\n|---|---:|")?;
        for (outcome, count) in &self.outcomes {
            writeln!(text, "| {outcome} | {count} |")?;
        }
        Ok(text)
    }
}
