//! `stack fuzz`: generated requests to every route that the services describe, on a throwaway platform.

use std::convert::Infallible;
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use eventplatform_tests::paths;
use eventplatform_tests::programs::Program;
use eventplatform_tests::stack::{ADMIN_EMAIL, Options, Stack};
use platform::Clock;
use platform::auth::ServiceTokenSigner;
use serde_json::json;
use tokio::process::Command;

use crate::job::Signals;

/// How often the service's token is renewed; it is valid for a minute.
const TOKEN_RENEWAL: Duration = Duration::from_secs(20);

/// Sends generated requests to every route that the services describe, and checks the answers against the descriptions.
///
/// It ends after so many requests, or so many seconds, whichever comes first, and says how many it sent. `FUZZ_SEED`
/// repeats a run's requests, as far as the answers allow.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many requests to send.
    #[arg(long, default_value_t = 20_000)]
    requests: u32,
    /// How long to go on at most, in seconds.
    #[arg(long, default_value_t = 3600)]
    seconds: u32,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    // Within `stack servers`, take its servers.
    let own_servers = env::var_os("TEST_POSTGRES_URL").is_none();
    let fuzzed = async {
        let platform = Stack::start(Options { own_servers, ..Options::default() }).await?;
        let status = while_tokens_are_fresh(&platform, async |token_file| {
            let mut fuzz = command(&platform, token_file, arguments.requests, arguments.seconds)?;
            fuzz.status().await.context("cannot start the fuzz")
        });
        let status = status.await;
        platform.stop().await?;
        status
    };
    tokio::select! {
        status = fuzzed => Ok(if status?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        signal = signals.next() => Ok(Signals::exit_code(signal)),
    }
}

/// Does the work while a file holds a token of booking-service for event-service that is valid.
pub(crate) async fn while_tokens_are_fresh<T>(
    platform: &Stack,
    work: impl AsyncFnOnce(PathBuf) -> Result<T>,
) -> Result<T> {
    let signer = ServiceTokenSigner::from_file("booking-service", &platform.secrets.service_key(), Clock::system())?;
    let folder = tempfile::tempdir()?;
    let (file, next) = (folder.path().join("token"), folder.path().join("next"));
    let write = || -> Result<()> {
        // Renamed, so that a reader finds a whole one.
        std::fs::write(&next, signer.token("event-service"))?;
        Ok(std::fs::rename(&next, &file)?)
    };
    write()?;
    tokio::select! {
        result = work(file.clone()) => result,
        failed = renew(write) => failed.map(|never| match never {}),
    }
}

/// Goes on until writing fails.
async fn renew(write: impl Fn() -> Result<()>) -> Result<Infallible> {
    loop {
        tokio::time::sleep(TOKEN_RENEWAL).await;
        write()?;
    }
}

/// The fuzz of that platform, ready to be started.
pub(crate) fn command(platform: &Stack, token_file: PathBuf, requests: u32, seconds: u32) -> Result<Command> {
    let python = paths::cache()?.join("fuzz/bin/python");
    if !python.is_file() {
        bail!("{} is missing; run .ci/install", python.display());
    }
    let url = |program| format!("http://{}", platform.address(program));
    let services = json!({
        "/users/openapi.json": url(Program::User),
        "/api/events/openapi.json": url(Program::Event),
        "/bookings/openapi.json": url(Program::Booking),
        "/notifications/openapi.json": url(Program::Notification),
    });
    let mut fuzz = Command::new(python);
    // Hypothesis keeps files in the folder where it is started: the token's, which goes away.
    fuzz.current_dir(token_file.parent().context("a token without a folder")?);
    fuzz.arg(paths::workspace().canonicalize()?.join("tests/fuzz/fuzz.py"));
    fuzz.args(["--requests", &requests.to_string(), "--seconds", &seconds.to_string()]);
    if let Some(seed) = env::var_os("FUZZ_SEED").filter(|seed| !seed.is_empty()) {
        fuzz.arg("--seed").arg(seed);
    }
    fuzz.env("SERVICES", services.to_string()).env("SERVICE_TOKEN_FILE", token_file);
    fuzz.env("ADMIN_EMAIL", ADMIN_EMAIL).env("ADMIN_PASSWORD", platform.secrets.read("admin-password")?);
    fuzz.kill_on_drop(true);
    Ok(fuzz)
}
