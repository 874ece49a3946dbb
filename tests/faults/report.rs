//! What a run has shown, for people: while it goes on, and in a file at the end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use eventplatform_tests::paths;

use crate::checker::Violation;
use crate::journal::Journal;
use crate::say;

/// What was broken, and how long users waited afterwards.
#[derive(Default)]
pub(crate) struct Report {
    recoveries: BTreeMap<String, Vec<Duration>>,
    /// Where bookings were not back in time.
    pub(crate) late: Vec<String>,
    pub(crate) faults: usize,
    pub(crate) kills: usize,
    pub(crate) failpoints: usize,
    /// What ten times the load did.
    pub(crate) crowd: String,
}

impl Report {
    pub(crate) fn recovered(&mut self, fault: String, after: Duration) {
        self.recoveries.entry(fault).or_default().push(after);
    }

    /// Says it all, and writes it beside what cargo builds.
    pub(crate) fn publish(&self, seed: u64, took: Duration, journal: &Journal, wrong: &[Violation]) -> Result<()> {
        let text = self.text(seed, took, journal, wrong)?;
        text.lines().for_each(say);
        let folder = paths::cargo_target()?.join("faults");
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(format!("{seed}.md")), text)?)
    }

    fn text(&self, seed: u64, took: Duration, journal: &Journal, wrong: &[Violation]) -> Result<String> {
        let bookings = journal.bookings();
        let priced = bookings.values().filter(|booking| booking.priced).count();
        let paid = bookings.values().filter(|booking| booking.priced && booking.paid).count();
        let mut text = format!("Seed {seed}, {:.0} s.\n\n", took.as_secs_f64());
        let Self { faults, kills, failpoints, .. } = self;
        writeln!(text, "{} bookings acknowledged, {priced} of them priced, {paid} paid", bookings.len())?;
        writeln!(text, "{faults} faults, {kills} times kill -9 of a program, {failpoints} of them at a failpoint")?;
        writeln!(text, "{}", self.crowd)?;
        writeln!(text, "{} violations, {} late recoveries\n", wrong.len(), self.late.len())?;
        for line in wrong.iter().map(ToString::to_string).chain(self.late.iter().cloned()).take(100) {
            writeln!(text, "- {line}")?;
        }
        writeln!(text, "\n| fault | times | back after, longest |\n|---|---:|---:|")?;
        for (fault, times) in &self.recoveries {
            let longest = times.iter().max().copied().unwrap_or_default();
            writeln!(text, "| {fault} | {} | {:.1} s |", times.len(), longest.as_secs_f64())?;
        }
        writeln!(text, "\n| answer | times |\n|---|---:|")?;
        for (outcome, count) in journal.outcomes() {
            writeln!(text, "| {outcome} | {count} |")?;
        }
        Ok(text)
    }
}
