//! `stack test`: every test of the workspace on throwaway servers, with one summary line at the end.

mod summary;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use eventplatform_tests::paths;
use eventplatform_tests::programs::{Binaries, Program, cargo};
use eventplatform_tests::servers::{Durability, MongoKind, Servers};
use eventplatform_tests::stack::{ADMIN_EMAIL, Options, Stack};
use tokio::process::Command;

use self::summary::Summary;
use crate::fuzz::{self, while_tokens_are_fresh};
use crate::job::Signals;

/// Runs every test on throwaway servers and prints how many passed.
///
/// Those of the workspace and a minute of tests/fuzz run beside those of tests/browser, each on a platform of its own.
/// `make test-faults` runs the fault suite, and `make test-cluster` the cluster suite.
///
/// A test that only a MongoDB can pass carries `#[ignore = "needs mongod: …"]`. It runs where `MONGOD` names one, or
/// `mongod` is on PATH, and is listed as NOT RUN elsewhere. So are the tests that need stripe-mock, where it is absent
/// and there is no Go to build it with.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs the tests of this program alone.
    #[arg(long, value_enum)]
    service: Option<Program>,
    /// Runs `cargo test` with these arguments alone.
    #[arg(last = true, conflicts_with = "service")]
    cargo: Vec<OsString>,
}

/// How long the fuzz goes on here; `stack fuzz` is the long form.
const FUZZ_SECONDS: u32 = 60;

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
    let everything = arguments.service.is_none() && arguments.cargo.is_empty();
    let selection = match arguments.service {
        Some(service) => ["--package", service.package()].map(OsString::from).to_vec(),
        None if everything => vec!["--workspace".into()],
        None => arguments.cargo,
    };
    // The programs too, which `cargo test` does not always build.
    let mut build = cargo()?;
    match arguments.service {
        Some(service) => build.args(["build", "--all-targets", "--package", service.package()]),
        None => build.args(["build", "--workspace", "--all-targets"]),
    };
    if !build.status().await.context("cannot start cargo")?.success() {
        println!("0 passed, 0 failed: it does not build");
        return Ok(ExitCode::FAILURE);
    }

    let servers = Servers::throwaway(Durability::Unsynced).await?;
    let mut summary = Summary::default();
    if everything {
        // Most tests of the workspace wait for servers, and those in a browser compute.
        let mut beside = Summary::default();
        let workspace = async {
            let cargo_tests = cargo_tests(selection, &servers, &mut summary).await;
            summary.note("cargo test", cargo_tests);
            let fuzz = fuzz(&servers, &mut summary).await;
            summary.note("tests/fuzz", fuzz);
        };
        let ((), browser_tests) = tokio::join!(workspace, browser_tests(&servers, &mut beside));
        beside.note("tests/browser", browser_tests);
        summary.add(beside);
    } else {
        let cargo_tests = cargo_tests(selection, &servers, &mut summary).await;
        summary.note("cargo test", cargo_tests);
    }
    servers.stop().await?;
    Ok(if summary.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn cargo_tests(selection: Vec<OsString>, servers: &Servers, summary: &mut Summary) -> Result<()> {
    let stripe = can_have_stripe_mock()?;
    if !stripe {
        summary.note_not_run(NO_STRIPE_TESTS);
    }
    let mongod = servers.mongodb.kind() == MongoKind::Mongod;
    let mut cargo = cargo()?;
    cargo.args(["test", "--no-fail-fast"]).args(with_choice(selection, mongod, stripe));
    cargo.envs(servers.environment()).env(Binaries::VARIABLE, binary_folder()?);
    summary.follow(cargo).await
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
async fn browser_tests(servers: &Servers, summary: &mut Summary) -> Result<()> {
    let (server_urls, binaries) = (Some(servers.into()), Some(Binaries::find(&binary_folder()?)?));
    let platform = Stack::start(Options { server_urls, binaries, ..Options::default() }).await?;
    let mut npm = Command::new("npm");
    npm.args(["test", "--silent", "--prefix"]).arg(paths::workspace().join("tests/browser"));
    // Node's choice of a reporter depends on its version.
    npm.args(["--", "--test-reporter=spec"]).env("ORIGIN", &platform.origin).kill_on_drop(true);
    npm.env("ADMIN_EMAIL", ADMIN_EMAIL).env("ADMIN_PASSWORD", platform.secrets.read("admin-password")?);
    let result = summary.follow(npm).await;
    platform.stop().await?;
    result
}

/// A minute of generated requests, on a platform of their own.
async fn fuzz(servers: &Servers, summary: &mut Summary) -> Result<()> {
    let (server_urls, binaries) = (Some(servers.into()), Some(Binaries::find(&binary_folder()?)?));
    let platform = Stack::start(Options { server_urls, binaries, ..Options::default() }).await?;
    let result = while_tokens_are_fresh(&platform, async |token_file| {
        summary.follow(fuzz::command(&platform, token_file, u32::MAX, FUZZ_SECONDS)?).await
    })
    .await;
    platform.stop().await?;
    result
}

fn binary_folder() -> Result<PathBuf> {
    Ok(paths::cargo_target()?.join("debug"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
