//! `stack servers -- CMD…`: throwaway servers for one command.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::{ExitCode, ExitStatus};
use std::time::Instant;

use anyhow::{Context, Result};
use eventplatform_tests::programs::remove_run_variables;
use eventplatform_tests::servers::{Durability, Servers};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

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
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let durability = if arguments.synced { Durability::Synced } else { Durability::Unsynced };

    let began = Instant::now();
    let servers = tokio::select! {
        servers = Servers::throwaway(durability) => servers?,
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
    };
    let kind = servers.mongodb.kind();
    eprintln!("stack: PostgreSQL, RabbitMQ, MongoDB ({kind}) ready in {:.1} s", began.elapsed().as_secs_f32());

    let status = async {
        let mut job = Job::start(&arguments.command, &servers)?;
        loop {
            tokio::select! {
                status = job.child.wait() => break Ok::<_, anyhow::Error>(status?),
                _ = interrupt.recv() => job.pass_on(Signal::INT),
                _ = terminate.recv() => job.pass_on(Signal::TERM),
            }
        }
    };
    let status = status.await;
    servers.stop().await?;
    Ok(exit_code(status?))
}

/// The command while it runs. On a terminal it shares this program's process group, so that it may read from the
/// terminal and Ctrl-C reaches it; elsewhere it has its own, which signals are passed on to.
struct Job {
    child: Child,
    own_group: bool,
}

impl Job {
    fn start(command: &[OsString], servers: &Servers) -> Result<Self> {
        let own_group = !std::io::stdin().is_terminal();
        let (program, args) = command.split_first().context("no command given")?;
        let mut command = Command::new(program);
        command.args(args).envs(servers.environment());
        remove_run_variables(&mut command);
        if own_group {
            command.process_group(0);
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, own_group })
    }

    fn pass_on(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(pid) = id else { return };
        let _ = match (self.own_group, signal) {
            (true, signal) => kill_process_group(pid, signal),
            (false, Signal::INT) => Ok(()),
            (false, signal) => kill_process(pid, signal),
        };
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(1));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
