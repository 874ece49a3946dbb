//! `stack servers -- CMD…`: throwaway servers for one command.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use eventplatform_tests::servers::{Durability, Servers};

use crate::job::{self, Signals};

/// Runs a command with throwaway PostgreSQL, RabbitMQ and MongoDB.
///
/// The command finds them in `TEST_POSTGRES_URL`, `TEST_AMQP_URL` and `TEST_MONGODB_URL`; `TEST_MONGODB_KIND` is
/// `mongod` or `secantus`. When it ends, or on Ctrl-C, the servers stop, their data is removed, and its exit code is
/// returned. `stack servers -- bash` keeps them for as long as the shell lives.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Let every commit reach the disk, as in production; slower.
    #[arg(long)]
    synced: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let durability = if arguments.synced { Durability::Synced } else { Durability::Unsynced };

    let began = Instant::now();
    let servers = tokio::select! {
        servers = Servers::throwaway(durability) => servers?,
        signal = signals.next() => return Ok(Signals::exit_code(signal)),
    };
    let kind = servers.mongodb.kind();
    eprintln!("stack: PostgreSQL, RabbitMQ, MongoDB ({kind}) ready in {:.1} s", began.elapsed().as_secs_f32());

    let code = job::run(&arguments.command, servers.environment(), &mut signals).await;
    servers.stop().await?;
    code
}
