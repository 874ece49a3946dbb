//! Counting what test programs print: cargo's and Node's.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Counts of all test programs, and what has to be said beside them.
#[derive(Default)]
pub(super) struct Summary {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    broken: Vec<String>,
    not_run: Vec<String>,
    fuzz: Option<String>,
}

impl Summary {
    /// Runs a test program, prints and counts what it prints; fails unless the program was content.
    pub(super) async fn follow(&mut self, mut program: Command) -> Result<()> {
        let mut child = program.stdout(Stdio::piped()).spawn().context("cannot start the tests")?;
        let stdout = child.stdout.take().context("tests without output")?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            println!("{line}");
            self.read(&line);
        }
        let status = child.wait().await?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    /// Remembers a test program that was not content.
    pub(super) fn note(&mut self, program: &str, result: Result<()>) {
        if let Err(error) = result {
            self.broken.push(format!("{program}: {error:#}"));
        }
    }

    /// Takes in the counts of tests that ran at the same time.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.broken.extend(other.broken);
        self.not_run.extend(other.not_run);
        self.fuzz = self.fuzz.take().or(other.fuzz);
    }

    /// Remembers tests that cannot run here.
    pub(super) fn note_not_run(&mut self, what: &str) {
        self.not_run.push(what.to_owned());
    }

    /// Takes in a line of cargo, such as `test a::b ... ok` or `test result: ok. 3 passed; 0 failed; …`, or of Node,
    /// such as `ℹ pass 3`, or of the fuzz, such as `fuzz: 3000 requests to 30 routes in 60 s, …`.
    fn read(&mut self, line: &str) {
        if let Some(passed) = line.strip_prefix("ℹ pass ") {
            self.passed += passed.trim().parse().unwrap_or(0);
        } else if let Some(failed) = line.strip_prefix("ℹ fail ") {
            self.failed += failed.trim().parse().unwrap_or(0);
        } else if let Some(sent) = line.strip_prefix("fuzz: ").filter(|rest| rest.contains(" requests to ")) {
            self.fuzz = Some(sent.to_owned());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, " passed");
            self.failed += count(counts, " failed");
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            match outcome.strip_prefix("ignored") {
                Some(reason) => self.not_run.push(format!("{name}{}", reason.replacen(", ", ": ", 1))),
                None if outcome.starts_with("FAILED") => self.failures.push(name.to_owned()),
                None => {}
            }
        }
    }

    fn totals(&self) -> String {
        let fuzz = self.fuzz.as_ref().map(|sent| format!("; fuzz: {sent}")).unwrap_or_default();
        format!("{} passed, {} failed{fuzz}", self.passed, self.failed)
    }

    /// Prints the totals; true if everything passed.
    pub(super) fn print(&self) -> bool {
        println!();
        self.not_run.iter().for_each(|item| println!("NOT RUN: {item}"));
        self.failures.iter().for_each(|name| println!("FAILED: {name}"));
        self.broken.iter().for_each(|program| println!("FAILED: {program}"));
        println!("{}", self.totals());
        self.broken.is_empty() && self.failed == 0
    }
}

/// The number before `word`, such as 3 in `ok. 3 passed; 0 failed`.
fn count(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    let digits = before.rsplit(|character: char| !character.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_add_up() {
        let (mut summary, mut beside) = (Summary::default(), Summary::default());

        summary.read("test routes::a_test ... ok");
        summary.read("test routes::b_test ... FAILED");
        summary.read("test stepdown ... ignored, needs mongod: three members");
        summary
            .read("test result: FAILED. 11 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        summary.read("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        beside.read("ℹ pass 4");
        beside.read("ℹ fail 0");
        summary.add(beside);
        summary.read("fuzz: seed 7, 2 processes");
        summary.read("fuzz: 3000 requests to 30 routes in 60 s, 0 answers 5xx, 0 not as described");

        assert_eq!((summary.passed, summary.failed), (17, 1));
        let sent = "3000 requests to 30 routes in 60 s, 0 answers 5xx, 0 not as described";
        assert_eq!(summary.totals(), format!("17 passed, 1 failed; fuzz: {sent}"));
        assert_eq!(summary.failures, ["routes::b_test"]);
        assert_eq!(summary.not_run, ["stepdown: needs mongod: three members"]);
        assert!(!summary.print());
    }
}
