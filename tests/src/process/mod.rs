//! Child processes that end with this one: started in a process group of their own, stopped gently, killed if they do
//! not listen, and killed by the kernel should this process vanish.

mod daemon;
mod quota;
mod spawn;
mod spec;

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::sync::watch;

pub use self::daemon::Daemon;
pub use self::quota::{CpuQuota, TICKS_PER_SECOND, cpu_seconds};
pub use self::spec::{LineSink, Spec};

const PAUSE: Duration = Duration::from_millis(5);
/// How long a dropped process may take to stop before it is killed.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// A running child process. Dropping it stops it and kills what is left of its process group.
pub struct Process {
    name: String,
    pid: Pid,
    exit: watch::Receiver<Option<ExitStatus>>,
    log: Option<PathBuf>,
    stop_signal: Signal,
}

impl Process {
    /// The name it was given, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let status = exit.wait_for(Option::is_some).await.expect("the reaper publishes before it ends");
        status.expect("waited for")
    }

    /// Fails, with the end of its log, if it has ended.
    pub fn check_running(&self) -> Result<()> {
        match *self.exit.borrow() {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}){}", self.name, self.last_lines()),
        }
    }

    /// Sends a signal to the process alone, not to its group.
    pub fn signal(&self, signal: Signal) {
        if self.is_running() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Asks it to stop and waits; after `patience`, kills its group.
    pub async fn stop(&self, patience: Duration) {
        self.signal(self.stop_signal);
        let ended = tokio::time::timeout(patience, self.wait()).await;
        if ended.is_err() {
            eprintln!("{} did not stop within {} s: killed", self.name, patience.as_secs());
        }
        self.kill().await;
    }

    /// Kills it and its group at once, like `kill -9`, and waits until all of it is gone.
    pub async fn kill(&self) {
        while self.group_lives() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            tokio::time::sleep(PAUSE).await;
        }
        self.wait().await;
    }

    fn group_lives(&self) -> bool {
        test_kill_process_group(self.pid).is_ok()
    }

    /// The end of its log, as the tail of an error message.
    fn last_lines(&self) -> String {
        let Some(log) = &self.log else { return String::new() };
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        format!("; the end of {}:\n{tail}", log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.stop_signal);
        let patience = Instant::now() + DROP_PATIENCE;
        while self.group_lives() {
            if Instant::now() > patience {
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
            thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Spec {
        Spec::new("shell", "/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn a_process_that_does_not_listen_is_killed_with_its_children() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let stubborn = "trap '' TERM; sh -c 'trap \"\" TERM; echo ready; sleep 100 & wait' & while :; do wait; done";
        let process = shell(stubborn).log_to(log.path()).spawn().unwrap();
        while !fs::read_to_string(log.path()).unwrap().contains("ready") {
            tokio::time::sleep(PAUSE).await;
        }

        process.stop(Duration::from_millis(50)).await;

        assert!(!process.is_running());
        assert!(!process.group_lives());
    }

    #[tokio::test]
    async fn a_process_that_ended_is_reported_with_its_last_lines() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let process = shell("echo no such database; exit 3").log_to(log.path()).spawn().unwrap();
        process.wait().await;

        let error = process.check_running().unwrap_err().to_string();

        assert!(error.contains("exit status: 3") && error.contains("no such database"), "{error}");
    }

    #[tokio::test]
    async fn a_daemon_starts_again_after_it_was_killed() {
        let daemon = Daemon::start(|| shell("sleep 100")).unwrap();
        let first = daemon.pid().await;
        daemon.kill().await;
        assert!(daemon.pid().await.is_none());

        daemon.up().await.unwrap();

        assert!(daemon.pid().await.is_some_and(|pid| Some(pid) != first));
    }
}
