//! `stack platform -- CMD…`: a throwaway platform for one command.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use eventplatform_tests::stack::{ADMIN_EMAIL, Options, Stack};

use crate::job::{self, Signals};

/// Runs a command with a throwaway platform: servers, every service, the frontend.
///
/// The command finds it at the URL in `ORIGIN`, and the first admin in `ADMIN_EMAIL` and `ADMIN_PASSWORD`. When it ends, or on Ctrl-C, everything stops, the data is removed, and
/// its exit code is returned.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many replicas of each service.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    // Within `stack servers`, take its servers.
    let own_servers = env::var_os("TEST_POSTGRES_URL").is_none();
    let options = Options { replicas: arguments.replicas, own_servers, ..Options::default() };

    let began = Instant::now();
    let platform = tokio::select! {
        platform = Stack::start(options) => platform?,
        signal = signals.next() => return Ok(Signals::exit_code(signal)),
    };
    eprintln!("stack: the platform is ready at {} after {:.1} s", platform.origin, began.elapsed().as_secs_f32());

    let admin_password = platform.secrets.read("admin-password")?;
    let environment =
        [("ORIGIN", platform.origin.as_str()), ("ADMIN_EMAIL", ADMIN_EMAIL), ("ADMIN_PASSWORD", &admin_password)];
    let code = job::run(&arguments.command, environment, &mut signals).await;
    platform.stop().await?;
    code
}
