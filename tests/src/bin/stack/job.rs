//! The command that `stack servers` and `stack platform` run, and how it ends.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use eventplatform_tests::programs::remove_run_variables;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind};

/// Ctrl-C and SIGTERM, from when this was made.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = unix::signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: unix::signal(SignalKind::terminate())? })
    }

    /// The next of the two.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
        }
    }

    /// The exit code of a program that such a signal ended.
    pub(crate) fn exit_code(signal: Signal) -> ExitCode {
        ExitCode::from(128 + u8::try_from(signal.as_raw()).unwrap_or(0))
    }
}

/// Runs a command to its end with further variables, passing signals on to it.
pub(crate) async fn run<N, V>(
    command: &[OsString],
    variables: impl IntoIterator<Item = (N, V)>,
    signals: &mut Signals,
) -> Result<ExitCode>
where
    N: AsRef<OsStr>,
    V: AsRef<OsStr>,
{
    let (program, args) = command.split_first().context("no command given")?;
    let mut command = Command::new(program);
    command.args(args).envs(variables);
    remove_run_variables(&mut command);
    // On a terminal the command shares this program's process group, so that it may read from the terminal and Ctrl-C
    // reaches it; elsewhere it has its own, so that signals reach all of it.
    let own_group = !std::io::stdin().is_terminal();
    if own_group {
        command.process_group(0);
    }
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit_code(status?)),
            signal = signals.next() => pass_on(&child, signal, own_group),
        }
    }
}

fn pass_on(child: &Child, signal: Signal, own_group: bool) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let Some(pid) = id else { return };
    let _ = match (own_group, signal) {
        (true, signal) => kill_process_group(pid, signal),
        // The terminal sent it to the command already.
        (false, Signal::INT) => Ok(()),
        (false, signal) => kill_process(pid, signal),
    };
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(1));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
