//! `stack test`: every test of the workspace on throwaway servers, with one summary line at the end.

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use eventplatform_tests::paths;
use eventplatform_tests::programs::{Binaries, cargo};
use eventplatform_tests::servers::{Durability, MongoKind, Servers};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::job::Signals;

/// Runs every test on throwaway servers and prints how many passed.
///
/// First those of the workspace, then those of tests/browser, on a platform of their own.
///
/// A test that only a MongoDB can pass carries `#[ignore = "needs mongod: …"]`. It runs where `MONGOD` names one, or
/// `mongod` is on PATH, and is listed as NOT RUN elsewhere. So are the tests that need stripe-mock, where it is absent
/// and there is no Go to build it with.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs `cargo test` with these arguments alone.
    #[arg(last = true)]
    cargo: Vec<OsString>,
}

/// What the tests that need stripe-mock are called (services/booking/tests/stripe), and their line if they do not run.
const STRIPE_TESTS: &str = "stripe_conformance::";
const NO_STRIPE_TESTS: &str = "Stripe conformance (no Go to build stripe-mock with)";

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        code = test(arguments) => code,
        signal = signals.next() => Ok(Signals::exit_code(signal)),
    }
}

async fn test(arguments: Arguments) -> Result<ExitCode> {
    let everything = arguments.cargo.is_empty();
    let selection = if everything { vec![OsString::from("--workspace")] } else { arguments.cargo };
    // With the features that `cargo test` will choose, and the programs too, which it does not always build.
    let built =
        cargo()?.args(["build", "--workspace", "--all-targets"]).status().await.context("cannot start cargo")?;
    if !built.success() {
        println!("0 passed, 0 failed: the workspace does not build");
        return Ok(ExitCode::FAILURE);
    }

    let servers = Servers::throwaway(Durability::Unsynced).await?;
    let mut summary = Summary::default();
    let stripe = can_have_stripe_mock()?;
    if !stripe {
        summary.not_run.push(NO_STRIPE_TESTS.to_owned());
    }
    let run = async {
        let mut content = summary.follow(cargo_tests(selection, stripe, &servers)?).await?;
        if everything {
            content &= summary.follow(browser_tests(&servers)?).await?;
        }
        Ok::<_, anyhow::Error>(content)
    };
    let content = run.await;
    servers.stop().await?;
    Ok(if summary.print(content?) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo_tests(selection: Vec<OsString>, stripe: bool, servers: &Servers) -> Result<Command> {
    let mut cargo = cargo()?;
    let mongod = servers.mongodb.kind() == MongoKind::Mongod;
    cargo.args(["test", "--no-fail-fast"]).args(with_choice(selection, mongod, stripe)).envs(environment(servers)?);
    Ok(cargo)
}

/// The arguments of `cargo test`, with those for the test programs about what can run here.
fn with_choice(mut arguments: Vec<OsString>, mongod: bool, stripe: bool) -> Vec<OsString> {
    if !arguments.iter().any(|argument| argument == "--") {
        arguments.push("--".into());
    }
    if mongod {
        arguments.push("--include-ignored".into());
    }
    if !stripe {
        arguments.extend(["--skip", STRIPE_TESTS].map(OsString::from));
    }
    arguments
}

/// Whether stripe-mock is where its tests look for it, or could be: with Go, its absence is for them to report.
fn can_have_stripe_mock() -> Result<bool> {
    let named = std::env::var_os("STRIPE_MOCK").is_some_and(|file| !file.is_empty());
    let installed = paths::cache()?.join("tools/bin/stripe-mock").is_file();
    Ok(named || installed || ["stripe-mock", "go"].into_iter().any(|program| paths::on_path(program).is_some()))
}

/// The tests in a real browser, on a platform of their own.
fn browser_tests(servers: &Servers) -> Result<Command> {
    let mut stack = Command::new(std::env::current_exe()?);
    stack.args(["platform", "--", "npm", "test", "--silent", "--prefix"]).arg(paths::workspace().join("tests/browser"));
    // Node's choice of a reporter depends on its version.
    stack.args(["--", "--test-reporter=spec"]).envs(environment(servers)?).kill_on_drop(true);
    Ok(stack)
}

fn environment(servers: &Servers) -> Result<Vec<(&'static str, OsString)>> {
    let mut variables = servers.environment();
    variables.push((Binaries::VARIABLE, paths::cargo_target()?.join("debug").into()));
    Ok(variables)
}

#[derive(Default)]
struct Summary {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    not_run: Vec<String>,
}

impl Summary {
    /// Runs a test program, prints and counts what it prints; true if it was content.
    async fn follow(&mut self, mut program: Command) -> Result<bool> {
        let mut child = program.stdout(Stdio::piped()).spawn().context("cannot start the tests")?;
        let stdout = child.stdout.take().context("tests without output")?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            println!("{line}");
            self.read(&line);
        }
        Ok(child.wait().await?.success())
    }

    /// Takes in a line of cargo, such as `test a::b ... ok` or `test result: ok. 3 passed; 0 failed; …`, or of Node,
    /// such as `ℹ pass 3`.
    fn read(&mut self, line: &str) {
        if let Some(passed) = line.strip_prefix("ℹ pass ") {
            self.passed += passed.trim().parse().unwrap_or(0);
        } else if let Some(failed) = line.strip_prefix("ℹ fail ") {
            self.failed += failed.trim().parse().unwrap_or(0);
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

    /// Prints the totals; true if everything passed.
    fn print(&self, content: bool) -> bool {
        println!();
        self.not_run.iter().for_each(|item| println!("NOT RUN: {item}"));
        self.failures.iter().for_each(|name| println!("FAILED: {name}"));
        if !content && self.failed == 0 {
            println!("FAILED: a test program did not run to its end; see above");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        content && self.failed == 0
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
        let mut summary = Summary::default();

        summary.read("test routes::a_test ... ok");
        summary.read("test routes::b_test ... FAILED");
        summary.read("test stepdown ... ignored, needs mongod: three members");
        summary
            .read("test result: FAILED. 11 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        summary.read("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        summary.read("ℹ pass 4");
        summary.read("ℹ fail 0");

        assert_eq!((summary.passed, summary.failed), (17, 1));
        assert_eq!(summary.failures, ["routes::b_test"]);
        assert_eq!(summary.not_run, ["stepdown: needs mongod: three members"]);
        assert!(!summary.print(false));
    }

    #[test]
    fn the_test_programs_are_told_what_can_run_here() {
        let choose = |selection: &[&str], mongod, stripe| {
            with_choice(selection.iter().map(OsString::from).collect(), mongod, stripe)
        };

        assert_eq!(choose(&["--workspace"], false, true), ["--workspace", "--"]);
        assert_eq!(choose(&["--workspace"], true, true), ["--workspace", "--", "--include-ignored"]);
        assert_eq!(choose(&["--", "late"], false, false), ["--", "late", "--skip", STRIPE_TESTS]);
    }
}
