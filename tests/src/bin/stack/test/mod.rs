//! `stack test`: every test of the workspace on throwaway servers, with one summary line at the end.

mod summary;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use eventplatform_tests::paths;
use eventplatform_tests::programs::{Binaries, Program, cargo};
use eventplatform_tests::servers::{Durability, MongoKind, Servers};
use eventplatform_tests::stack::{ADMIN_EMAIL, Options, Stack};
use serde_json::Value;
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
    let selection = if arguments.cargo.is_empty() { vec!["--workspace".into()] } else { arguments.cargo };
    // The programs too, which `cargo test` does not always build.
    let mut build = cargo()?;
    build.args(["build", "--workspace", "--all-targets"]);
    if !build.status().await.context("cannot start cargo")?.success() {
        println!("0 passed, 0 failed: the workspace does not build");
        return Ok(ExitCode::FAILURE);
    }

    let servers = Servers::throwaway(Durability::Unsynced).await?;
    let mut summary = Summary::default();
    if !can_have_stripe_mock()? {
        summary.note_not_run(NO_STRIPE_TESTS);
    }
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
    } else if let Some(service) = arguments.service {
        for tests in test_programs(service).await? {
            let result = run_tests(tests, &servers, &mut summary).await;
            summary.note(service.name(), result);
        }
    } else {
        let cargo_tests = cargo_tests(selection, &servers, &mut summary).await;
        summary.note("cargo test", cargo_tests);
    }
    servers.stop().await?;
    Ok(if summary.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn cargo_tests(selection: Vec<OsString>, servers: &Servers, summary: &mut Summary) -> Result<()> {
    let mut cargo = cargo()?;
    cargo.args(["test", "--no-fail-fast"]).args(selection.iter().take_while(|argument| *argument != "--"));
    cargo.arg("--").args(selection.iter().skip_while(|argument| *argument != "--").skip(1));
    run_tests(cargo, servers, summary).await
}

/// The test programs of one package. `cargo test --package` would compile dependencies again, with other features.
async fn test_programs(service: Program) -> Result<Vec<Command>> {
    let mut cargo = cargo()?;
    cargo.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let output = cargo.stderr(Stdio::inherit()).output().await.context("cannot start cargo")?;
    ensure!(output.status.success(), "the tests do not build");
    let messages = String::from_utf8(output.stdout)?;
    let messages = messages.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    let manifest = format!("{}/Cargo.toml", service.folder());
    let of_package = messages.iter().filter(|message| {
        message["profile"]["test"] == true
            && message["manifest_path"].as_str().is_some_and(|path| path.ends_with(&manifest))
    });
    Ok(of_package
        .filter_map(|message| {
            let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
            let mut program = Command::new(message["executable"].as_str()?);
            program.current_dir(folder).kill_on_drop(true);
            Some(program)
        })
        .collect())
}

/// Runs tests with what they need in their environment, and those alone that can run here.
async fn run_tests(mut tests: Command, servers: &Servers, summary: &mut Summary) -> Result<()> {
    if servers.mongodb.kind() == MongoKind::Mongod {
        tests.arg("--include-ignored");
    }
    if !can_have_stripe_mock()? {
        tests.args(["--skip", STRIPE_TESTS]);
    }
    tests.envs(servers.environment()).env(Binaries::VARIABLE, binary_folder()?);
    summary.follow(tests).await
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
